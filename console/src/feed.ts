// A session's token stream (SSE), read with fetch, because EventSource can send no key; begun again behind the last id.

import { createParser } from "eventsource-parser";

import { ApiError, fetchOk, isAbort, pathOf } from "./api";
import type { Token } from "./turn";
import { backoffMs, pause } from "./waiting";

/** Nothing heard for so many heartbeats: the connection is dead, whatever the browser believes. */
const MISSED = 3;
/** The gateway says how often its heart beats (`gateway.heartbeat_s`); until then, and at least, it is waited so long. */
const SILENCE_MS = 45_000;
/** A browser takes a longer one for none. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

function silenceMs(response: Response): number {
  const beatMs = Number(response.headers.get("Barnabas-Heartbeat")) * 1000;
  return beatMs > 0 ? Math.min(Math.max(SILENCE_MS, MISSED * beatMs), LONGEST_TIMER_MS) : SILENCE_MS;
}

const KINDS = new Set(["started", "delta", "tool", "completed", "failed", "cancelled", "superseded"]);

export type FeedState = "connecting" | "live" | "lost";

export interface FeedListener {
  onToken(token: Token): void;
  /** Everything up to this id was told. It moves without tokens, too. */
  onPlace(id: string): void;
  onState(state: FeedState): void;
  /** The id behind which we asked is not kept any more, or none of this session: the log has to say what was missed. */
  onExpired(): void;
  /** Nothing can be read, and trying again would not help. */
  onRefused(error: ApiError): void;
}

export class Feed {
  readonly #sessionId: string;
  readonly #listener: FeedListener;
  readonly #abort = new AbortController();
  #lastId: string | null;
  #isOpen = false;

  constructor(sessionId: string, lastId: string | null, listener: FeedListener) {
    this.#sessionId = sessionId;
    this.#lastId = lastId;
    this.#listener = listener;
  }

  get lastId(): string | null {
    return this.#lastId;
  }

  start(): void {
    void this.#run();
  }

  close(): void {
    this.#abort.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    for (let tried = 0; !signal.aborted; tried++) {
      this.#listener.onState(tried === 0 ? "connecting" : "lost");
      let afterMs: number | null = null;
      this.#isOpen = false;
      try {
        await this.#read(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && !error.isPassing) {
          const isCursor = error.status === 410 || error.status === 400 || error.status === 422;
          if (this.#lastId === null || !isCursor) return this.#listener.onRefused(error);
          this.#lastId = null;
          this.#listener.onExpired();
        } else if (error instanceof ApiError) afterMs = error.retryAfterMs;
        else if (!isAbort(error) && !(error instanceof TypeError)) throw error;
      }
      if (signal.aborted) return;
      if (this.#isOpen) tried = 0;
      this.#listener.onState("lost");
      await pause(Math.max(afterMs ?? 0, backoffMs(tried)), signal);
    }
  }

  async #read(outer: AbortSignal): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const signal = AbortSignal.any([outer, silence.signal]);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (this.#lastId !== null) headers["Last-Event-ID"] = this.#lastId;
      const response = await fetchOk(pathOf`/sessions/${this.#sessionId}/stream`, { headers, signal });
      if (response.body === null) throw new ApiError(0, "unreachable", "The stream has no body.");
      const limitMs = silenceMs(response);
      this.#isOpen = true;
      this.#listener.onState("live");
      let place = this.#lastId;
      const parser = createParser({
        onId: (id) => {
          place = id;
        },
        onEvent: ({ event, data }) => {
          if (event !== undefined && KINDS.has(event)) this.#listener.onToken(JSON.parse(data) as Token);
        },
      });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), limitMs);
        parser.feed(value);
        // Once for all that came together, and behind it: what was not told yet is asked for again.
        if (place !== null && place !== this.#lastId) {
          this.#lastId = place;
          this.#listener.onPlace(place);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }
}
