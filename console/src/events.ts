// Pages of a session's events, each page's events oldest first.

import { fetchJson, pathOf, withQuery } from "./api";
import type { LoggedEvent } from "./log";

const PAGE = 100;

export interface EventPage {
  events: LoggedEvent[];
  /** Where the page before this one begins; null at the log's beginning. */
  earlier: string | null;
}

export async function latestEvents(session: string, signal: AbortSignal): Promise<EventPage> {
  return pageOf(session, null, signal);
}

export async function eventsBefore(session: string, page: EventPage, signal: AbortSignal): Promise<EventPage> {
  return pageOf(session, page.earlier, signal);
}

/** The events up to an offset, and with it. */
export async function eventsUpto(session: string, offset: number, signal: AbortSignal): Promise<EventPage> {
  return pageOf(session, String(offset + 1), signal);
}

/** The events behind an offset. */
export async function eventsBehind(session: string, offset: number, signal: AbortSignal): Promise<LoggedEvent[]> {
  return (await ask(session, { limit: PAGE, order: "asc", cursor: offset + 1 }, signal)).events;
}

/** The offset of a session's first event. */
export async function firstOffset(session: string, signal: AbortSignal): Promise<number | null> {
  return (await ask(session, { limit: 1, order: "asc" }, signal)).events[0]?.offset ?? null;
}

interface Answer {
  events: LoggedEvent[];
  next_cursor: string | null;
  has_more: boolean;
}

async function pageOf(session: string, cursor: string | null, signal: AbortSignal): Promise<EventPage> {
  const answer = await ask(session, { limit: PAGE, order: "desc", cursor }, signal);
  return { events: answer.events.toReversed(), earlier: answer.has_more ? answer.next_cursor : null };
}

async function ask(session: string, query: Record<string, string | number | null>, signal: AbortSignal): Promise<Answer> {
  return fetchJson<Answer>(withQuery(pathOf`/sessions/${session}/events`, query), { signal });
}
