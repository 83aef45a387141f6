// A session's events, and a slider that shows the memory as it was behind each of them.

import { useEffect, useRef, useState } from "preact/hooks";

import { fetchJson, isAbort, messageOf, pathOf, withQuery } from "./api";
import { describe } from "./described";
import { type EventPage, eventsBefore, latestEvents } from "./events";
import type { LoggedEvent } from "./log";
import { type Session, MemoryView } from "./memory_view";
import { reveal } from "./reveal";
import { linkTo } from "./router";
import { clock, count, wholeMoment } from "./time";

/** While the slider moves, the gateway is asked once it has rested for so long. */
const REST_MS = 90;

/** What a session was, by offset: the past does not change. */
function useSessionAt(session: string, offset: number | null) {
  const past = useRef(new Map<number, Session>());
  const [shown, setShown] = useState<{ offset: number; session: Session } | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => past.current.clear(), [session]);
  useEffect(() => {
    if (offset === null) return undefined;
    const known = past.current.get(offset);
    if (known !== undefined) {
      setShown({ offset, session: known });
      setProblem(null);
      return undefined;
    }
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const answer = await fetchJson<Session>(withQuery(pathOf`/sessions/${session}`, { at: offset }), { signal: abort.signal });
        past.current.set(offset, answer);
        setShown({ offset, session: answer });
        setProblem(null);
      } catch (error) {
        if (!isAbort(error)) setProblem(messageOf(error));
      }
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [session, offset]);
  return { shown, problem };
}

export function Timeline({ session }: { session: string }) {
  const [events, setEvents] = useState<LoggedEvent[]>([]);
  const [oldest, setOldest] = useState<EventPage | null>(null);
  const [isLoading, setLoading] = useState(true);
  const [problem, setProblem] = useState<string | null>(null);
  /** The offset that is looked at; null: the newest. */
  const [at, setAt] = useState<number | null>(null);
  const list = useRef<HTMLOListElement>(null);
  const memory = useRef<HTMLDivElement>(null);
  const abort = useRef(new AbortController());

  const load = async (page: EventPage | null): Promise<void> => {
    setLoading(true);
    try {
      const { signal } = abort.current;
      const found = await (page === null ? latestEvents(session, signal) : eventsBefore(session, page, signal));
      setEvents((known) => (page === null ? found.events : [...found.events, ...known]));
      setOldest(found.earlier === null ? null : found);
      setProblem(null);
    } catch (error) {
      if (isAbort(error)) return;
      setProblem(messageOf(error));
    }
    setLoading(false);
  };

  useEffect(() => {
    abort.current = new AbortController();
    setEvents([]);
    setAt(null);
    void load(null);
    return () => abort.current.abort();
  }, [session]);

  const last = events.length - 1;
  const found = at === null ? last : events.findIndex((event) => event.offset === at);
  const index = found < 0 ? last : found;
  const event = events[index];
  const { shown, problem: memoryProblem } = useSessionAt(session, event?.offset ?? null);

  const choose = (next: number): void => setAt(events[next]?.offset ?? null);

  useEffect(() => {
    reveal(list.current?.querySelector('[aria-current="true"]'));
  }, [event?.offset]);
  useEffect(() => {
    reveal([...(memory.current?.querySelectorAll(".is-of-event") ?? [])].at(-1));
  }, [shown]);

  return (
    <section class="page timeline" aria-labelledby="title">
      <header class="page-head">
        <div>
          <a class="back" href={linkTo.sessions}>
            Sessions
          </a>
          <h1 id="title" tabIndex={-1}>
            {session}
          </h1>
        </div>
        <div class="page-actions">
          <button type="button" class="quiet" disabled={isLoading} onClick={() => void load(null)}>
            Refresh
          </button>
          <a class="button" href={linkTo.chat(session)}>
            Talk
          </a>
        </div>
      </header>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {events.length > 0 && event && (
        <>
          <div class="scrubber">
            <label for="offset">Memory as it was at offset</label>
            <output for="offset">{count(event.offset)}</output>
            <input
              id="offset"
              type="range"
              min={0}
              max={last}
              value={index}
              disabled={last === 0}
              aria-valuetext={`offset ${event.offset}, ${event.type ?? event.verdict}, ${clock(event.timestamp_ms)}`}
              onInput={(change) => choose(Number(change.currentTarget.value))}
            />
            <p class="scrubber-now">
              <strong>{event.type ?? event.verdict}</strong>
              <time dateTime={new Date(event.timestamp_ms).toISOString()} title={wholeMoment(event.timestamp_ms)}>
                {clock(event.timestamp_ms)}
              </time>
              <span class="muted">
                {index + 1} of {events.length}
                {oldest ? " loaded" : ""}, partition {event.partition}
              </span>
              {index !== last && (
                <button type="button" class="quiet" onClick={() => setAt(null)}>
                  Newest
                </button>
              )}
            </p>
          </div>
          <div class="timeline-columns">
            <div class="events" data-scrolls>
              <h2>Events</h2>
              {oldest && (
                <button type="button" class="earlier" disabled={isLoading} onClick={() => void load(oldest)}>
                  Show earlier
                </button>
              )}
              <ol ref={list} data-scrolls>
                {events.map((one, place) => (
                  <li key={one.offset} aria-current={place === index} class={one.verdict === "accepted" ? (place > index ? "is-later" : "") : "is-rejected"}>
                    <button type="button" onClick={() => choose(place)}>
                      <span class="event-offset">{one.offset}</span>
                      <span class={`event-type is-${one.type}`}>{one.type ?? "unreadable"}</span>
                      <span class="event-text">{describe(one)}</span>
                      {one.verdict !== "accepted" && <span class="event-verdict">{one.verdict}</span>}
                    </button>
                    {place === index && (
                      <details>
                        <summary>The record</summary>
                        <pre tabIndex={0}>{JSON.stringify(one, null, 2)}</pre>
                      </details>
                    )}
                  </li>
                ))}
              </ol>
            </div>
            <div class="memory" ref={memory} data-scrolls aria-busy={shown?.offset !== event.offset} data-offset={shown?.offset}>
              <h2>Memory</h2>
              {memoryProblem ? (
                <p class="problem" role="alert">
                  {memoryProblem}
                </p>
              ) : (
                shown && <MemoryView session={shown.session} turnId={event.turn_id ?? null} />
              )}
            </div>
          </div>
        </>
      )}
      {events.length === 0 && <p class="nothing">{isLoading ? "Loading…" : problem ? "" : "This session has no events."}</p>}
    </section>
  );
}
