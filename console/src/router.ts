// Where the user is, kept behind the # of the address: the gateway serves one page.

import { useEffect, useState } from "preact/hooks";

export type Route =
  | { page: "chat"; session: string }
  | { page: "new" }
  | { page: "sessions" }
  | { page: "session"; session: string }
  | { page: "dead-letters" }
  | { page: "figures" };

export function routeOf(hash: string): Route {
  const [page = "", ...rest] = hash.replace(/^#\/?/, "").split("/");
  const session = decoded(rest.join("/"));
  switch (page) {
    case "chat":
      return session ? { page: "chat", session } : { page: "new" };
    case "sessions":
      return session ? { page: "session", session } : { page: "sessions" };
    case "dead-letters":
    case "figures":
      return { page };
    default:
      return { page: "new" };
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const linkTo = {
  new: "#/",
  chat: (session: string) => `#/chat/${encodeURIComponent(session)}`,
  sessions: "#/sessions",
  session: (session: string) => `#/sessions/${encodeURIComponent(session)}`,
  deadLetters: "#/dead-letters",
  figures: "#/figures",
};

export function useRoute(): Route {
  const [route, setRoute] = useState(() => routeOf(location.hash));
  useEffect(() => {
    const follow = (): void => setRoute(routeOf(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  return route;
}
