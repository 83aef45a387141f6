// The conversation page.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { type Agent, fetchAgents } from "./agents";
import { Announcer } from "./announcer";
import { Composer } from "./composer";
import { Conversation } from "./conversation";
import { DownIcon } from "./icons";
import { useObserved } from "./observable";
import { linkTo } from "./router";
import { TurnView } from "./turn_view";

/** Nearer to the end than this, a reader is at the end. */
const NEAR_PX = 8;

/** Keep the end in view while the reader is there; leave them alone where they have scrolled back. */
function useFollowing(content: unknown) {
  const scroller = useRef<HTMLDivElement>(null);
  const [isFollowing, setFollowing] = useState(true);
  useLayoutEffect(() => {
    if (isFollowing && scroller.current !== null) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, [content, isFollowing]);
  const lastTop = useRef(0);
  const onScroll = (): void => {
    const element = scroller.current;
    if (element === null) return;
    if (element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX) setFollowing(true);
    else if (element.scrollTop < lastTop.current) setFollowing(false);
    lastTop.current = element.scrollTop;
  };
  return { scroller, isFollowing, onScroll, follow: () => setFollowing(true) };
}

interface Props {
  session: string;
  isNew: boolean;
  /** Hears when a message was sent: a new session has an address from then on. */
  onSent(): void;
}

export function Chat({ session, isNew, onSent }: Props) {
  const conversation = useObserved(useMemo(() => new Conversation(session, isNew), [session]));
  const [agents, setAgents] = useState<readonly Agent[]>([]);
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    conversation.open();
    field.current?.focus({ preventScroll: true });
    return () => conversation.close();
  }, [conversation]);

  useEffect(() => {
    const abort = new AbortController();
    const take = (found: readonly Agent[]): void => {
      setAgents(found);
      conversation.defaultAgent = found.find((agent) => agent.is_default)?.name ?? "";
    };
    void fetchAgents(abort.signal).then(take, () => undefined); // without the list there is nothing to choose
    return () => abort.abort();
  }, [conversation]);

  const running = conversation.running;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.key !== "Escape" || event.isComposing || running === null || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      void conversation.stop();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [conversation, running === null]);

  const turns = conversation.turns;
  const following = useFollowing(turns);
  const isEmpty = turns.length === 0 && !conversation.isLoading;

  return (
    <section class="chat" aria-labelledby="title">
      <header class="page-head">
        <h1 id="title" tabIndex={-1} class={isNew ? "unseen" : ""}>
          {isNew ? "New conversation" : session}
        </h1>
        {!isNew && <a href={linkTo.session(session)}>Timeline</a>}
      </header>
      <div class="turns" ref={following.scroller} onScroll={following.onScroll} tabIndex={-1}>
        <div class="column">
          {conversation.hasEarlier && (
            <button type="button" class="earlier" disabled={conversation.isLoadingEarlier} onClick={() => void conversation.loadEarlier()}>
              {conversation.isLoadingEarlier ? "Loading…" : "Show earlier"}
            </button>
          )}
          {isEmpty && (
            <div class="welcome">
              <p class="welcome-title">What shall be carried?</p>
              <p class="muted">
                Each message is one record on Kafka, each answer a stream of them. You may close the page: the answer
                goes on, and is here when you come back.
              </p>
            </div>
          )}
          {turns.map((turn) => (
            <TurnView key={turn.messageId} turn={turn} />
          ))}
        </div>
      </div>
      <div class="dock">
        <div class="column">
          {!following.isFollowing && (
            <button type="button" class="to-end" onClick={following.follow}>
              <DownIcon />
              <span>Latest</span>
            </button>
          )}
          <p class="problem" role="alert" hidden={conversation.problem === null && conversation.connection !== "lost"}>
            {conversation.problem ?? "The connection is lost. It is taken up again, and nothing is missed."}
          </p>
          <Composer
            field={field}
            agents={agents}
            isRunning={running !== null}
            isStopping={running?.isStopping ?? false}
            onSend={(text, agent) => {
              following.follow();
              conversation.send(text, agent);
              onSent();
            }}
            onStop={() => void conversation.stop()}
          />
        </div>
      </div>
      <Announcer turn={turns.findLast((turn) => turn.parts.length > 0) ?? null} />
    </section>
  );
}
