// A question to the gateway whose answer a page shows: asked again when its name changes, withdrawn when it goes.

import { useEffect, useRef, useState } from "preact/hooks";

import { isAbort, messageOf } from "./api";

export interface Loaded<T> {
  data: T | null;
  problem: string | null;
  isLoading: boolean;
  /** Ask again. */
  again(): void;
}

export function useLoaded<T>(name: string, ask: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ name: string; data: T | null; problem: string | null }>({ name: "", data: null, problem: null });
  const [count, setCount] = useState(0);
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => {
    const abort = new AbortController();
    latest.current(abort.signal).then(
      (data) => abort.signal.aborted || setState({ name, data, problem: null }),
      (error: unknown) => isAbort(error) || abort.signal.aborted || setState({ name, data: null, problem: messageOf(error) }),
    );
    return () => abort.abort();
  }, [name, count]);
  const isCurrent = state.name === name;
  return {
    data: isCurrent ? state.data : null,
    problem: isCurrent ? state.problem : null,
    isLoading: !isCurrent,
    again: () => setCount((value) => value + 1),
  };
}

/** What was asked at intervals while the tab is looked at; the last answer stays when one fails. */
export function usePolled<T>(everyMs: number, ask: (signal: AbortSignal) => Promise<T>): { data: T | null; problem: string | null } {
  const [data, setData] = useState<T | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const latest = useRef(ask);
  latest.current = ask;
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const poll = async (): Promise<void> => {
      if (!document.hidden) {
        try {
          const found = await latest.current(abort.signal);
          if (abort.signal.aborted) return;
          setData(found);
          setProblem(null);
        } catch (error) {
          if (abort.signal.aborted) return;
          setProblem(messageOf(error));
        }
      }
      timer = setTimeout(() => void poll(), everyMs);
    };
    void poll();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [everyMs]);
  return { data, problem };
}
