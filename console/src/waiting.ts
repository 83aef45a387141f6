// Pauses between tries.

const FIRST_MS = 300;
const LONGEST_MS = 8_000;

/** The pause before try number `tried` (from 0), with jitter so that a thousand consoles do not come back at once. */
export function backoffMs(tried: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** tried) * (0.6 + 0.4 * Math.random());
}

/** Wait; less where the machine comes online or the tab is looked at again. Never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      removeEventListener("online", done);
      document.removeEventListener("visibilitychange", done);
      resolve();
    };
    const timer = setTimeout(done, signal.aborted ? 0 : ms);
    signal.addEventListener("abort", done);
    addEventListener("online", done);
    document.addEventListener("visibilitychange", done);
  });
}
