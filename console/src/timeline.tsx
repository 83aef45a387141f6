// A session's events, and a slider over its whole log that shows the memory as it was behind each of them.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import { fetchJson, isAbort, messageOf, pathOf, withQuery } from "./api";
import { describe } from "./described";
import { LogWindow } from "./log_window";
import { type Session, MemoryView } from "./memory_view";
import { useObserved } from "./observable";
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

const PAGE_STEP = 10;

export function Timeline({ session }: { session: string }) {
  const log = useObserved(useMemo(() => new LogWindow(session), [session]));
  const list = useRef<HTMLOListElement>(null);
  const memory = useRef<HTMLDivElement>(null);

  useEffect(() => {
    void log.loadNewest();
    return () => log.close();
  }, [log]);

  const { events, index, isLoading, problem } = log;
  const event = events[index];
  const { shown, problem: memoryProblem } = useSessionAt(session, event?.offset ?? null);

  // By events, not by offsets: between two of a session's own there are others'.
  const onKeyDown = (pressed: KeyboardEvent): void => {
    const steps: Record<string, () => unknown> = {
      ArrowLeft: () => void log.step(-1),
      ArrowDown: () => void log.step(-1),
      ArrowRight: () => void log.step(1),
      ArrowUp: () => void log.step(1),
      PageDown: () => void log.step(-PAGE_STEP),
      PageUp: () => void log.step(PAGE_STEP),
      Home: () => log.first !== null && log.lookAt(log.first),
      End: () => log.newest !== null && log.lookAt(log.newest),
    };
    const step = steps[pressed.key];
    if (step === undefined) return;
    pressed.preventDefault();
    step();
  };

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
          <button type="button" class="quiet" disabled={isLoading} onClick={() => void log.loadNewest()}>
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
            <output for="offset">{count(log.place)}</output>
            <input
              id="offset"
              type="range"
              min={log.first ?? event.offset}
              max={log.newest ?? event.offset}
              value={log.place}
              disabled={log.first === log.newest}
              aria-valuetext={`offset ${event.offset}, ${event.type ?? event.verdict}, ${clock(event.timestamp_ms)}`}
              onInput={(change) => log.lookAt(Number(change.currentTarget.value))}
              onKeyDown={onKeyDown}
            />
            <p class="scrubber-now">
              <strong>{event.type ?? event.verdict}</strong>
              <time dateTime={new Date(event.timestamp_ms).toISOString()} title={wholeMoment(event.timestamp_ms)}>
                {clock(event.timestamp_ms)}
              </time>
              <span class="muted">
                {index + 1} of {events.length}
                {log.hasEarlier || log.hasLater ? " loaded" : ""}, partition {event.partition}
              </span>
              {!log.isNewest && (
                <button type="button" class="quiet" onClick={() => void log.loadNewest()}>
                  Newest
                </button>
              )}
            </p>
          </div>
          <div class="timeline-columns">
            <div class="events" data-scrolls>
              <h2>Events</h2>
              {log.hasEarlier && (
                <button type="button" class="earlier" disabled={isLoading} onClick={() => void log.loadEarlier()}>
                  Show earlier
                </button>
              )}
              <ol ref={list} data-scrolls>
                {events.map((one, place) => (
                  <li key={one.offset} aria-current={place === index} class={one.verdict === "accepted" ? (place > index ? "is-later" : "") : "is-rejected"}>
                    <button type="button" onClick={() => log.lookAt(one.offset)}>
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
              {log.hasLater && (
                <button type="button" class="earlier" disabled={isLoading} onClick={() => void log.loadLater()}>
                  Show later
                </button>
              )}
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
