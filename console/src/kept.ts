// What outlives a reload: for each session the stream id to go on from, and messages that nobody has confirmed yet.

const PLACES = "barnabas.places";
const KEPT = 40;
const LONGEST_MS = 3_600_000;

interface Place {
  id: string;
  at: number;
}

function places(): Record<string, Place> {
  try {
    return JSON.parse(localStorage.getItem(PLACES) ?? "{}") as Record<string, Place>;
  } catch {
    return {};
  }
}

/** The last stream id behind which no turn of the session was open; null where there is none, or an old one. */
export function keptPlace(sessionId: string): string | null {
  const place = places()[sessionId];
  return place && Date.now() - place.at < LONGEST_MS ? place.id : null;
}

/** Keep an id, not the text: what follows it is read again, and an answer is whole by construction. */
export function keepPlace(sessionId: string, id: string | null): void {
  const all = Object.entries(places()).filter(([name]) => name !== sessionId);
  if (id !== null) all.push([sessionId, { id, at: Date.now() }]);
  all.sort(([, a], [, b]) => b.at - a.at);
  try {
    localStorage.setItem(PLACES, JSON.stringify(Object.fromEntries(all.slice(0, KEPT))));
  } catch {
    // No room, or switched off: a reload shows an answer that is under way at its end only.
  }
}

export interface Outgoing {
  messageId: string;
  text: string;
  agent: string | null;
  /** Whether the gateway has confirmed it. It is kept until the log or the stream tells of it. */
  isSent: boolean;
}

export class Outbox {
  readonly #name: string;
  #all: Outgoing[];

  constructor(sessionId: string) {
    this.#name = `barnabas.outbox:${sessionId}`;
    try {
      this.#all = JSON.parse(sessionStorage.getItem(this.#name) ?? "[]") as Outgoing[];
    } catch {
      this.#all = [];
    }
  }

  get all(): readonly Outgoing[] {
    return this.#all;
  }

  put(message: Outgoing): void {
    const at = this.#all.findIndex((one) => one.messageId === message.messageId);
    this.#all = at < 0 ? [...this.#all, message] : this.#all.with(at, message);
    this.#save();
  }

  drop(messageId: string): void {
    if (!this.#all.some((one) => one.messageId === messageId)) return;
    this.#all = this.#all.filter((one) => one.messageId !== messageId);
    this.#save();
  }

  #save(): void {
    try {
      if (this.#all.length) sessionStorage.setItem(this.#name, JSON.stringify(this.#all));
      else sessionStorage.removeItem(this.#name);
    } catch {
      // As above: a message that was not sent yet is lost with a reload.
    }
  }
}
