// The part of a session's log that a page holds: as much as was looked at, wherever in the log that is.

import { isAbort, messageOf } from "./api";
import { type EventPage, eventsBefore, eventsBehind, eventsUpto, firstOffset, latestEvents } from "./events";
import type { LoggedEvent } from "./log";
import { Observable } from "./observable";

/** While the slider moves, the gateway is asked once it has rested for so long. */
const REST_MS = 90;

export class LogWindow extends Observable {
  /** Without a gap, oldest first. */
  events: readonly LoggedEvent[] = [];
  /** Of the whole log: where it begins, and the newest that is known. */
  first: number | null = null;
  newest: number | null = null;
  isLoading = true;
  problem: string | null = null;
  /** The offset that is looked at; null: the newest. */
  #at: number | null = null;
  /** ... and the one that is asked for, until its events are here. */
  #wanted: number | null = null;
  #page: EventPage | null = null;
  #restTimer: ReturnType<typeof setTimeout> | undefined;
  #abort = new AbortController();

  constructor(readonly session: string) {
    super();
  }

  close(): void {
    clearTimeout(this.#restTimer);
    this.#abort.abort();
  }

  get hasEarlier(): boolean {
    return this.#page?.earlier != null;
  }

  get hasLater(): boolean {
    return (this.events.at(-1)?.offset ?? 0) < (this.newest ?? 0);
  }

  /** The place among `events` of the one that is looked at: the last at the offset or before it. */
  get index(): number {
    const at = this.#at;
    return at === null ? this.events.length - 1 : Math.max(0, this.events.findLastIndex(({ offset }) => offset <= at));
  }

  /** Where the slider stands. */
  get place(): number {
    return this.#wanted ?? this.events[this.index]?.offset ?? 0;
  }

  get isNewest(): boolean {
    return this.place === this.newest;
  }

  async loadNewest(): Promise<void> {
    this.#at = null;
    await this.#load(async (signal) => {
      this.#replace(await latestEvents(this.session, signal));
      this.newest = this.events.at(-1)?.offset ?? null;
      this.first = this.hasEarlier ? await firstOffset(this.session, signal) : (this.events[0]?.offset ?? null);
    });
  }

  async loadEarlier(): Promise<void> {
    const page = this.#page;
    if (page?.earlier == null) return;
    await this.#load(async (signal) => {
      const found = await eventsBefore(this.session, page, signal);
      this.#page = found;
      this.events = [...found.events, ...this.events];
    });
  }

  async loadLater(): Promise<void> {
    const last = this.events.at(-1);
    if (last === undefined) return;
    await this.#load(async (signal) => {
      this.events = [...this.events, ...(await eventsBehind(this.session, last.offset, signal))];
      this.newest = Math.max(this.newest ?? 0, this.events.at(-1)?.offset ?? 0);
    });
  }

  /** Look at an offset anywhere in the log. */
  lookAt(offset: number): void {
    clearTimeout(this.#restTimer);
    this.#abort.abort();
    this.isLoading = false;
    const isHere = offset >= (this.events[0]?.offset ?? Infinity) && (offset <= (this.events.at(-1)?.offset ?? 0) || !this.hasLater);
    this.#wanted = isHere ? null : offset;
    if (isHere) this.#at = offset;
    else {
      const load = async (signal: AbortSignal): Promise<void> => {
        const found = await eventsUpto(this.session, offset, signal);
        this.#replace(found);
        this.#at = offset;
        this.#wanted = null;
      };
      this.#restTimer = setTimeout(() => void this.#load(load), REST_MS);
    }
    this.changed();
  }

  /** Look at the event so many before or behind this one. */
  async step(by: number): Promise<void> {
    if (this.isLoading || this.#wanted !== null) return;
    const from = this.events[this.index]?.offset;
    if (from === undefined) return;
    if (this.index + by < 0) await this.loadEarlier();
    else if (this.index + by >= this.events.length && this.hasLater) await this.loadLater();
    const here = this.events.findIndex(({ offset }) => offset === from);
    const next = this.events[Math.min(Math.max(0, here + by), this.events.length - 1)];
    if (next !== undefined) this.lookAt(next.offset);
  }

  #replace(page: EventPage): void {
    this.#page = page;
    this.events = page.events;
  }

  /** One at a time: what was asked before is not wanted any more. */
  async #load(ask: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.#abort.abort();
    const mine = new AbortController();
    this.#abort = mine;
    this.isLoading = true;
    this.changed();
    try {
      await ask(mine.signal);
      this.problem = null;
    } catch (error) {
      if (isAbort(error) || mine.signal.aborted) return;
      this.problem = messageOf(error);
      this.#wanted = null;
    }
    this.isLoading = false;
    this.changed();
  }
}
