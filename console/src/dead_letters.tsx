// Records that could not be handled, with where they lay and why.

import { useState } from "preact/hooks";

import { fetchJson, withQuery } from "./api";
import { identity } from "./identity";
import { useObserved } from "./observable";
import { type Page, usePaged } from "./paged";
import { linkTo } from "./router";
import { ago, count, wholeMoment } from "./time";

interface DeadLetter {
  position: string;
  occurred_at: number;
  cause: string;
  detail: string;
  tenant: string | null;
  session_id: string | null;
  message_id: string | null;
  topic: string;
  partition: number;
  offset: number;
  value_bytes: number | null;
  preview: string | null;
  retry_of: string | null;
  resolved: { how: string; by: string; occurred_at: number } | null;
}

interface DeadLetterPage {
  dead_letters: DeadLetter[];
  next_cursor: string | null;
  has_more: boolean;
}

const PAGE = 50;

/** A link where it is one's own: another tenant's session is not to be read from here. */
function SessionName({ tenant, session }: { tenant: string | null; session: string }) {
  const { me } = useObserved(identity);
  if (me !== null && tenant === me.tenant && !session.includes("/")) return <a href={linkTo.session(session)}>{session}</a>;
  return <>{tenant === null ? session : `${tenant}/${session}`}</>;
}

function Letter({ letter }: { letter: DeadLetter }) {
  const resolved = letter.resolved;
  return (
    <li class={`letter ${resolved ? "is-resolved" : ""}`}>
      <header>
        <code class="cause">{letter.cause}</code>
        {resolved && (
          <span class="state is-idle">
            {resolved.how} by {resolved.by}
          </span>
        )}
        <time class="muted" dateTime={new Date(letter.occurred_at).toISOString()} title={wholeMoment(letter.occurred_at)}>
          {ago(letter.occurred_at)}
        </time>
      </header>
      <p class="plain">{letter.detail}</p>
      <dl class="facts">
        <div>
          <dt>position</dt>
          <dd>{letter.position}</dd>
        </div>
        <div>
          <dt>lay at</dt>
          <dd>
            {letter.topic}-{letter.partition}@{count(letter.offset)}
          </dd>
        </div>
        {letter.session_id !== null && (
          <div>
            <dt>session</dt>
            <dd>
              <SessionName tenant={letter.tenant} session={letter.session_id} />
            </dd>
          </div>
        )}
        {letter.message_id !== null && (
          <div>
            <dt>message</dt>
            <dd>{letter.message_id}</dd>
          </div>
        )}
        {letter.value_bytes !== null && (
          <div>
            <dt>value</dt>
            <dd>{count(letter.value_bytes)} bytes</dd>
          </div>
        )}
        {letter.retry_of !== null && (
          <div>
            <dt>retry of</dt>
            <dd>{letter.retry_of}</dd>
          </div>
        )}
      </dl>
      {letter.preview !== null && (
        <details>
          <summary>The beginning of its value</summary>
          <pre tabIndex={0}>{letter.preview}</pre>
        </details>
      )}
      {!resolved && (
        <p class="muted">
          <code>barnabas dead-letters show {letter.position}</code>, then <code>retry</code> or <code>drop</code>
        </p>
      )}
    </li>
  );
}

export function DeadLetters() {
  const [isAll, setAll] = useState(false);
  const list = usePaged<DeadLetter>(String(isAll), async (cursor, signal): Promise<Page<DeadLetter>> => {
    const path = withQuery("/dead-letters", { limit: PAGE, cursor, with_resolved: isAll ? "true" : null });
    const page = await fetchJson<DeadLetterPage>(path, { signal });
    return { items: page.dead_letters, nextCursor: page.has_more ? page.next_cursor : null };
  });
  return (
    <section class="page" aria-labelledby="title">
      <header class="page-head">
        <h1 id="title" tabIndex={-1}>
          Dead letters
        </h1>
        <button type="button" class="quiet" onClick={list.again}>
          Refresh
        </button>
      </header>
      <div class="filters">
        <label class="check">
          <input type="checkbox" checked={isAll} onChange={(event) => setAll(event.currentTarget.checked)} />
          Retried and dropped ones, too
        </label>
      </div>
      {list.problem && (
        <p class="problem" role="alert">
          {list.problem}
        </p>
      )}
      <ol class="letters" aria-busy={list.isLoading}>
        {list.items.map((letter) => (
          <Letter key={letter.position} letter={letter} />
        ))}
      </ol>
      {!list.isLoading && list.items.length === 0 && !list.hasMore && !list.problem && (
        <p class="nothing">No dead letters. Every record could be handled.</p>
      )}
      <div class="more">
        {list.hasMore && (
          <button type="button" onClick={list.more} disabled={list.isLoading}>
            Show more
          </button>
        )}
        <span class="muted" role="status">
          {list.isLoading ? "Loading…" : list.items.length ? `${count(list.items.length)} shown` : ""}
        </span>
      </div>
    </section>
  );
}
