// The sessions that this browser has talked to last: their names, nothing of what was said.

import { Observable } from "./observable";

const STORED = "barnabas.recent";
const KEPT = 8;

class Recent extends Observable {
  #names: string[];

  constructor() {
    super();
    try {
      this.#names = (JSON.parse(localStorage.getItem(STORED) ?? "[]") as unknown[]).filter((one) => typeof one === "string");
    } catch {
      this.#names = [];
    }
  }

  get names(): readonly string[] {
    return this.#names;
  }

  /** Put a session in front; one that is among them stays where it is, so that the list does not jump. */
  add(session: string): void {
    if (this.#names.includes(session)) return;
    this.#names = [session, ...this.#names].slice(0, KEPT);
    try {
      localStorage.setItem(STORED, JSON.stringify(this.#names));
    } catch {
      // It is a convenience.
    }
    this.changed();
  }
}

export const recent = new Recent();
