// The console: its frame, and which page is in it.

import "./style.css";

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Chat } from "./chat";
import { DeadLetters } from "./dead_letters";
import { Figures } from "./figures";
import { ChatIcon, FiguresIcon, LetterIcon, ListIcon, PlusIcon } from "./icons";
import { identity } from "./identity";
import { newSessionId } from "./ids";
import { key } from "./key";
import { KeyDialog } from "./key_dialog";
import { useObserved } from "./observable";
import { recent } from "./recent";
import { linkTo, type Route, useRoute } from "./router";
import { Sessions } from "./sessions";
import { Timeline } from "./timeline";

const LICENCES = document.querySelector<HTMLMetaElement>('meta[name="licences"]')?.content ?? "";

function Frame() {
  const route = useRoute();
  // A new conversation gets its name here, and its address with its first message.
  const [fresh, setFresh] = useState(newSessionId);
  const main = useRef<HTMLElement>(null);
  const address = addressOf(route);
  const isFirst = useRef(true);

  useEffect(() => {
    if (route.page === "chat") recent.add(route.session);
    if (isFirst.current) {
      isFirst.current = false;
      return;
    }
    // Where a page was gone to by a link, its heading is read, and Tab goes on from there.
    if (route.page !== "chat" && route.page !== "new") main.current?.querySelector<HTMLElement>("h1")?.focus();
  }, [address]);

  useEffect(() => {
    document.title = titleOf(route);
  }, [address]);

  const session = route.page === "chat" ? route.session : fresh;
  const startOver = (): void => setFresh(newSessionId());

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        To the content
      </a>
      <Sidebar route={route} onNew={startOver} />
      <main id="main" ref={main} tabIndex={-1}>
        {(route.page === "chat" || route.page === "new") && (
          <Chat
            key={session}
            session={session}
            isNew={route.page === "new"}
            onSent={() => {
              if (route.page !== "new") return;
              history.replaceState(null, "", linkTo.chat(session));
              dispatchEvent(new HashChangeEvent("hashchange"));
              startOver();
            }}
          />
        )}
        {route.page === "sessions" && <Sessions />}
        {route.page === "session" && <Timeline key={route.session} session={route.session} />}
        {route.page === "dead-letters" && <DeadLetters />}
        {route.page === "figures" && <Figures />}
      </main>
      <KeyDialog />
    </>
  );
}

function Sidebar({ route, onNew }: { route: Route; onNew(): void }) {
  const { names } = useObserved(recent);
  const { value } = useObserved(key);
  const who = useObserved(identity);
  const current = (is: boolean): "page" | undefined => (is ? "page" : undefined);
  return (
    <nav class="side" aria-label="Console">
      <a class="mark" href={linkTo.new} onClick={onNew}>
        Barnabas
      </a>
      <ul class="pages">
        <li>
          <a href={linkTo.new} onClick={onNew} aria-current={current(route.page === "new" || route.page === "chat")}>
            <ChatIcon />
            <span>Chat</span>
          </a>
        </li>
        {who.may("sessions:read") && (
          <li>
            <a href={linkTo.sessions} aria-current={current(route.page === "sessions" || route.page === "session")}>
              <ListIcon />
              <span>Sessions</span>
            </a>
          </li>
        )}
        {who.may("operate") && (
          <>
            <li>
              <a href={linkTo.deadLetters} aria-current={current(route.page === "dead-letters")}>
                <LetterIcon />
                <span>Dead letters</span>
              </a>
            </li>
            <li>
              <a href={linkTo.figures} aria-current={current(route.page === "figures")}>
                <FiguresIcon />
                <span>Figures</span>
              </a>
            </li>
          </>
        )}
      </ul>
      {names.length > 0 && (
        <div class="recent">
          <h2>
            Recent
            <a href={linkTo.new} onClick={onNew} aria-label="New conversation">
              <PlusIcon />
            </a>
          </h2>
          <ul>
            {names.map((name) => (
              <li key={name}>
                <a href={linkTo.chat(name)} aria-current={current(route.page === "chat" && route.session === name)}>
                  {name}
                </a>
              </li>
            ))}
          </ul>
        </div>
      )}
      <footer class="side-foot">
        {value !== null && (
          <button type="button" class="quiet" onClick={() => key.forget()}>
            Forget the key
          </button>
        )}
        <a href="/openapi.json">API</a>
        <a href={LICENCES}>Licences</a>
      </footer>
    </nav>
  );
}

function addressOf(route: Route): string {
  return "session" in route ? `${route.page}/${route.session}` : route.page;
}

function titleOf(route: Route): string {
  switch (route.page) {
    case "chat":
    case "session":
      return `${route.session} · Barnabas`;
    case "sessions":
      return "Sessions · Barnabas";
    case "dead-letters":
      return "Dead letters · Barnabas";
    case "figures":
      return "Figures · Barnabas";
    default:
      return "Barnabas";
  }
}

render(<Frame />, document.getElementById("console")!);
