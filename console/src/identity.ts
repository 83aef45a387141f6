// Who the gateway takes the user for, so that the page offers nothing that it would refuse.

import { ApiError, fetchJson } from "./api";
import { key } from "./key";
import { Observable } from "./observable";
import { backoffMs, pause } from "./waiting";

export type Scope = "sessions:read" | "sessions:write" | "operate";

interface Me {
  tenant: string | null;
  scopes: string[];
}

class Identity extends Observable {
  /** Null until it is known. */
  me: Me | null = null;
  #isAsking = false;
  #askedWith: string | null = null;

  constructor() {
    super();
    key.subscribe(() => {
      if (key.asks === null && key.value !== this.#askedWith) void this.#ask();
    });
    void this.#ask();
  }

  may(scope: Scope): boolean {
    return this.me?.scopes.includes(scope) ?? false;
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    const { signal } = new AbortController();
    for (let tried = 0; ; tried++) {
      try {
        this.me = await fetchJson<Me>("/me");
        break;
      } catch (error) {
        if (!(error instanceof ApiError && error.isPassing)) break;
        await pause(Math.max(error.retryAfterMs ?? 0, backoffMs(tried)), signal);
      }
    }
    this.#askedWith = key.value; // what is asked with another key meanwhile, is asked again by itself
    this.#isAsking = false;
    this.changed();
  }
}

export const identity = new Identity();
