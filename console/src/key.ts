// The user's key, where the gateway asks for one. It lives as long as the tab, and leaves it in one header only.

import { Observable } from "./observable";

const STORED = "barnabas.key";

class Key extends Observable {
  #value = sessionStorage.getItem(STORED);
  #waiting: (() => void)[] = [];
  /** Why the dialog is shown; null while it is not. */
  asks: string | null = null;

  get value(): string | null {
    return this.#value;
  }

  /** Resolves when the user has given another key than the refused one. */
  async refused(value: string | null, reason: string): Promise<void> {
    if (value !== this.#value) return;
    this.asks = value === null ? "" : reason;
    this.changed();
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  give(value: string): void {
    this.#value = value;
    sessionStorage.setItem(STORED, value);
    this.asks = null;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
    this.changed();
  }

  /** With all that was kept for its holder: the names of sessions, too. */
  forget(): void {
    sessionStorage.clear();
    localStorage.clear();
    history.replaceState(null, "", "#/");
    location.reload();
  }
}

export const key = new Key();
