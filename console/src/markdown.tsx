// Markdown as models write it. Their text is hostile until shown otherwise: HTML in it is shown as text, what marked
// makes of the rest passes DOMPurify with a short list of elements, and nothing in it is loaded from anywhere.

import DOMPurify from "dompurify";
import { Marked, type Token } from "marked";
import { memo } from "./memo";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { CheckIcon, CopyIcon } from "./icons";

const SAFE_LINK = /^(?:https?:|mailto:)/i;

const escaped = (text: string): string =>
  text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`);

const marked = new Marked({ gfm: true, breaks: true }).use({
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
  (old, next) => next.isGrowing && old.token.raw === next.token.raw && old.token.type === next.token.type,
);

const CodeBlock = memo(
  ({ text, language }: { text: string; language: string }) => {
    const [isCopied, setCopied] = useState(false);
    const copy = async (): Promise<void> => {
      await navigator.clipboard.writeText(text);
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
          <code>{text}</code>
        </pre>
      </figure>
    );
  },
);

/** Text as blocks, so that while it grows only the last one is made again. */
export function Markdown({ text, isGrowing = false }: { text: string; isGrowing?: boolean }) {
  const tokens = useMemo(() => marked.lexer(text), [text]);
  return (
    <div class="markdown">
      {tokens.map((token, at) => {
        if (token.type === "space" || token.type === "def") return null;
        if (token.type === "code") return <CodeBlock key={at} text={token.text} language={token.lang ?? ""} />;
        return <Block key={at} token={token} isGrowing={isGrowing} />;
      })}
    </div>
  );
}
