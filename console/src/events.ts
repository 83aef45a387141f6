// Pages of a session's events, newest page first, each page's events oldest first.

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

interface Answer {
  events: LoggedEvent[];
  next_cursor: string | null;
  has_more: boolean;
}

async function pageOf(session: string, cursor: string | null, signal: AbortSignal): Promise<EventPage> {
  const path = withQuery(pathOf`/sessions/${session}/events`, { limit: PAGE, order: "desc", cursor });
  const answer = await fetchJson<Answer>(path, { signal });
  return { events: answer.events.toReversed(), earlier: answer.has_more ? answer.next_cursor : null };
}
