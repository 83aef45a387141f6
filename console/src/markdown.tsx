// Markdown as models write it. Their text is hostile until shown otherwise: HTML in it is shown as text, what marked
// makes of the rest passes DOMPurify with a short list of elements, and nothing in it is loaded from anywhere.

import DOMPurify from "dompurify";
import type { Token } from "marked";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { Blocks, marked } from "./blocks";
import { CheckIcon, CopyIcon } from "./icons";
import { memo } from "./memo";

const SAFE_LINK = /^(?:https?:|mailto:)/i;

const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);

marked.use({
  renderer: {
    html: ({ text, block }) => (block === true ? `<p>${escaped(text)}</p>` : escaped(text)),
    link(token) {
      return SAFE_LINK.test(token.href) ? false : this.parser.parseInline(token.tokens); // false: as marked does it
    },
    image: ({ href, text }) => (SAFE_LINK.test(href) ? `<a href="${escaped(href)}">${escaped(text || href)}</a>` : escaped(text)),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

const TAGS = "a p br hr strong em del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td".split(" ");

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

function fragmentOf(html: string): DocumentFragment {
  return DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "title", "start", "align"],
    ALLOWED_URI_REGEXP: SAFE_LINK, // asked of every attribute but those that are known to hold no address
    ADD_URI_SAFE_ATTR: ["align", "start"],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    RETURN_DOM_FRAGMENT: true,
  });
}

interface BlockProps {
  token: Token;
  /** A later definition may still turn text into links: while text streams, blocks are made once. */
  isGrowing: boolean;
}

const Block = memo(
  ({ token }: BlockProps) => {
    const element = useRef<HTMLDivElement>(null);
    useLayoutEffect(() => element.current?.replaceChildren(fragmentOf(marked.parser([token]))), [token]);
    return <div ref={element} />;
  },
  ({ token }, next) =>
    token === next.token || (next.isGrowing && token.raw === next.token.raw && token.type === next.token.type),
);

const CodeBlock = memo(
  ({ text, language }: { text: string; language: string }) => {
    const [isCopied, setCopied] = useState(false);
    const code = useRef<HTMLElement>(null);
    const copy = async (): Promise<void> => {
      if (!(await copied(text, code.current!))) return; // it is selected: the user's own copying does it
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    };
    return (
      <figure class="code">
        <figcaption>
          <span>{language || "text"}</span>
          <button type="button" class="quiet" onClick={() => void copy()} aria-label="Copy code">
            {isCopied ? <CheckIcon /> : <CopyIcon />}
            <span aria-live="polite">{isCopied ? "Copied" : "Copy"}</span>
          </button>
        </figcaption>
        <pre tabIndex={0}>
          <code ref={code}>{text}</code>
        </pre>
      </figure>
    );
  },
);

/** Copy what an element shows; a browser gives its clipboard over HTTPS and on loopback alone. */
async function copied(text: string, element: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** Text as blocks, so that while it grows only the last ones are made again. */
export function Markdown({ text, isGrowing = false }: { text: string; isGrowing?: boolean }) {
  const blocks = useRef(new Blocks()).current;
  const tokens = useMemo(() => blocks.of(text, isGrowing), [text, isGrowing]);
  return (
    <div class="markdown">
      {tokens.map((token, at) => {
        if (token.type === "space" || token.type === "def") return null;
        if (token.type === "code") return <CodeBlock key={at} text={token.text} language={token.lang ?? ""} />;
        if (token.type === "text" && token.tokens === undefined) return <p key={at} class="plain">{token.raw}</p>;
        return <Block key={at} token={token} isGrowing={isGrowing} />;
      })}
    </div>
  );
}
