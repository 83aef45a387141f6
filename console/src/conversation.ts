// A session as its user sees it: turns from the log and from the token stream, messages on their way, and how to stop.

import { ApiError, fetchJson, isAbort, messageOf, pathOf } from "./api";
import { type EventPage, eventsBefore, latestEvents } from "./events";
import { Feed, type FeedState } from "./feed";
import { newMessageId } from "./ids";
import { keepPlace, keptPlace, Outbox, type Outgoing } from "./kept";
import { turnsOf } from "./log";
import { Observable } from "./observable";
import { applyToken, hasEnded, newTurn, type Token, type Turn } from "./turn";
import { backoffMs, pause } from "./waiting";

/** What the gateway says of a message that the broker has confirmed. */
interface Accepted {
  message_id: string;
  cursor: string;
}

const REFRESH_MS = 250;

export class Conversation extends Observable {
  /** By message id, in the order of the log; what is on its way comes last. */
  #turns = new Map<string, Turn>();
  #feed: Feed | null = null;
  #isFrameDue = false;
  #isSending = false;
  #refreshTimer: ReturnType<typeof setTimeout> | undefined;
  #earlier: EventPage | null = null;
  readonly #outbox: Outbox;
  readonly #abort = new AbortController();

  /** Answers messages that name no agent. */
  defaultAgent = "";
  isLoading = true;
  isLoadingEarlier = false;
  /** What went wrong and concerns the whole conversation. */
  problem: string | null = null;
  connection: FeedState | "none" = "none";

  constructor(
    readonly id: string,
    /** Nobody has talked to it yet: there is nothing to read. */
    readonly isNew: boolean,
  ) {
    super();
    this.#outbox = new Outbox(id);
  }

  get turns(): Turn[] {
    return [...this.#turns.values()];
  }

  /** The turn that Stop is for: the first that has not ended. */
  get running(): Turn | null {
    return this.turns.find((turn) => !hasEnded(turn) && turn.state !== "sending") ?? null;
  }

  get hasEarlier(): boolean {
    return this.#earlier !== null;
  }

  open(): void {
    for (const message of this.#outbox.all) this.#put(pending(message, this.defaultAgent));
    const place = keptPlace(this.id);
    if (place !== null) this.#listen(place);
    if (this.isNew) this.isLoading = false;
    else void this.#load();
    void this.#sendAll();
  }

  close(): void {
    this.#abort.abort();
    this.#feed?.close();
    clearTimeout(this.#refreshTimer);
  }

  // -- Sending

  send(text: string, agent: string | null): void {
    const message: Outgoing = { messageId: newMessageId(), text, agent, isSent: false };
    this.#outbox.put(message);
    this.#put(pending(message, this.defaultAgent));
    void this.#sendAll();
  }

  /** One after the other, so that they arrive in the order in which they were written. */
  async #sendAll(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      for (;;) {
        const message = this.#outbox.all.find((one) => !one.isSent);
        if (message === undefined || this.#abort.signal.aborted) return;
        await this.#sendOne(message);
      }
    } finally {
      this.#isSending = false;
    }
  }

  async #sendOne(message: Outgoing): Promise<void> {
    const { signal } = this.#abort;
    for (let tried = 0; !signal.aborted; tried++) {
      try {
        const accepted = await fetchJson<Accepted>(pathOf`/sessions/${this.id}/messages`, {
          method: "POST",
          headers: { "Idempotency-Key": message.messageId },
          body: message.agent === null ? { text: message.text } : { text: message.text, agent: message.agent },
          signal,
        });
        if (this.#outbox.all.some((one) => one.messageId === message.messageId)) {
          this.#outbox.put({ ...message, isSent: true });
        }
        this.#change(message.messageId, (turn) => (turn.state === "sending" ? { ...turn, state: "waiting" } : turn));
        this.problem = null;
        if (this.#feed === null) {
          keepPlace(this.id, accepted.cursor);
          this.#listen(accepted.cursor);
        }
        return;
      } catch (error) {
        if (signal.aborted || isAbort(error)) return;
        if (!(error instanceof ApiError) || !error.isPassing) {
          this.#outbox.drop(message.messageId);
          this.#change(message.messageId, (turn) => ({ ...turn, state: "failed", cause: "refused", detail: messageOf(error) }));
          return;
        }
        this.problem = `${error.message} The message is sent as soon as it can be.`;
        this.#show();
        await pause(Math.max(error.retryAfterMs ?? 0, backoffMs(tried)), signal);
      }
    }
  }

  // -- Stopping

  async stop(): Promise<void> {
    const turn = this.running;
    if (turn === null || turn.isStopping) return;
    this.#change(turn.messageId, (one) => ({ ...one, isStopping: true }));
    try {
      await fetchJson(pathOf`/sessions/${this.id}/cancel`, {
        method: "POST",
        body: { message_id: turn.messageId },
        signal: this.#abort.signal,
      });
    } catch (error) {
      if (isAbort(error)) return;
      this.problem = messageOf(error);
      this.#change(turn.messageId, (one) => ({ ...one, isStopping: false }));
    }
  }

  // -- Listening

  #listen(after: string | null): void {
    this.#feed?.close();
    const feed = new Feed(this.id, after, {
      onToken: (token) => this.#token(token),
      onPlace: (id) => {
        if (!this.turns.some((turn) => turn.state === "running")) keepPlace(this.id, id);
      },
      onState: (state) => {
        this.connection = state;
        if (state === "live") {
          this.problem = null;
          // From now on, not from a place: what ended before "now" is in the log, and perhaps was not when we read it.
          if (feed.lastId === null) this.#refreshSoon();
        }
        this.#show();
      },
      onExpired: () => {
        keepPlace(this.id, null);
        this.#refreshSoon();
      },
      onRefused: (error) => {
        this.connection = "none";
        this.#feed = null;
        if (error.status !== 404) this.problem = error.message;
        this.#show();
      },
    });
    this.#feed = feed;
    feed.start();
  }

  #token(token: Token): void {
    const known = this.#turns.get(token.message_id);
    const before = known ?? newTurn(token.message_id);
    // Nobody here has said this: the log knows what it was.
    if (before.user === null) this.#refreshSoon();
    const after = applyToken(before, token);
    this.#outbox.drop(token.message_id);
    if (after !== before || known === undefined) this.#put(after);
  }

  // -- Reading the log

  async #load(): Promise<void> {
    try {
      const page = await latestEvents(this.id, this.#abort.signal);
      this.#merge(page, false);
      this.#earlier = page.earlier === null ? null : page;
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof ApiError && error.status === 404)) this.problem = messageOf(error);
    }
    this.isLoading = false;
    this.#show();
  }

  async loadEarlier(): Promise<void> {
    if (this.#earlier === null || this.isLoadingEarlier) return;
    this.isLoadingEarlier = true;
    this.#show();
    try {
      const page = await eventsBefore(this.id, this.#earlier, this.#abort.signal);
      this.#merge(page, true);
      this.#earlier = page.earlier === null ? null : page;
    } catch (error) {
      if (isAbort(error)) return;
      this.problem = messageOf(error);
    }
    this.isLoadingEarlier = false;
    this.#show();
  }

  #refreshSoon(): void {
    clearTimeout(this.#refreshTimer);
    this.#refreshTimer = setTimeout(() => void this.#load(), REFRESH_MS);
  }

  #merge(page: EventPage, isEarlier: boolean): void {
    const told = turnsOf(page.events);
    const merged = told.map((turn) => joined(this.#turns.get(turn.messageId), turn));
    for (const turn of told) this.#outbox.drop(turn.messageId);
    const names = new Set(told.map((turn) => turn.messageId));
    const others = this.turns.filter((turn) => !names.has(turn.messageId));
    // What the log does not tell yet comes behind what it tells; what an earlier page told stays in front.
    const first = isEarlier ? [] : others.filter((turn) => isBefore(turn, merged[0]));
    const last = others.filter((turn) => !first.includes(turn));
    this.#turns = new Map([...first, ...merged, ...last].map((turn) => [turn.messageId, turn]));
    if (this.#feed === null && told.length > 0) this.#listen(null);
  }

  // -- Showing

  #put(turn: Turn): void {
    this.#turns.set(turn.messageId, turn);
    this.#show();
  }

  #change(messageId: string, change: (turn: Turn) => Turn): void {
    const turn = this.#turns.get(messageId);
    if (turn !== undefined) this.#put(change(turn));
  }

  /** Once a frame, however many tokens came; by a timer where no frames are drawn. */
  #show(): void {
    if (this.#isFrameDue) return;
    this.#isFrameDue = true;
    const show = (): void => {
      this.#isFrameDue = false;
      this.changed();
    };
    if (document.hidden) setTimeout(show, 50);
    else requestAnimationFrame(show);
  }
}

function pending(message: Outgoing, defaultAgent: string): Turn {
  return newTurn(message.messageId, {
    user: message.text,
    agent: message.agent ?? defaultAgent,
    state: message.isSent ? "waiting" : "sending",
  });
}

/** A turn that the stream tells of and the log, too: an end in the log is the end, else the stream is ahead. */
function joined(shown: Turn | undefined, told: Turn): Turn {
  if (shown === undefined || hasEnded(told)) return told;
  if (shown.attempt === null && !hasEnded(shown)) return { ...told, isStopping: shown.isStopping };
  return { ...shown, user: told.user, agent: told.agent, startedAt: told.startedAt };
}

function isBefore(turn: Turn, other: Turn | undefined): boolean {
  return other !== undefined && turn.startedAt !== null && other.startedAt !== null && turn.startedAt < other.startedAt;
}
