// Markdown as a list of blocks. Where text grows, all but its last blocks are kept: a frame costs what is new, not what
// is there. And whatever a model writes has its bounds, since marked takes square time for nested and for long blocks.

import { Lexer, Marked, type Token, type Tokens, type TokensList } from "marked";

export const marked = new Marked({ gfm: true, breaks: true });

/** Lists and quotes within each other; what lies deeper is their text. */
const DEEPEST = 20;
/** Emphasis, links and the like within each other. */
const DEEPEST_INLINE = 40;
/** A paragraph, or a cell, with more marks is text. */
const MOST_MARKS = 1_000;
/** Of open blocks that are longer than that, a part is looked at again only once they have grown by a quarter. */
const LONGEST_OPEN = 16_000;

const MARKS = /[*_~`[<!]/g;

const plain = (text: string): Tokens.Text => ({ type: "text", raw: text, text, escaped: false });

class BoundedLexer extends Lexer {
  #depth = 0;
  #inlineDepth = 0;

  override blockTokens(text: string, tokens: Token[] = [], isClipped = false): TokensList {
    if (this.#depth >= DEEPEST) {
      tokens.push(plain(text));
      return tokens as TokensList;
    }
    this.#depth += 1;
    super.blockTokens(text, tokens, isClipped);
    this.#depth -= 1;
    return tokens as TokensList;
  }

  override inlineTokens(text: string, tokens: Token[] = []): Token[] {
    if (this.#inlineDepth >= DEEPEST_INLINE || hasTooManyMarks(text)) {
      tokens.push(plain(text));
      return tokens;
    }
    this.#inlineDepth += 1;
    super.inlineTokens(text, tokens);
    this.#inlineDepth -= 1;
    return tokens;
  }
}

type Links = Record<string, Pick<Tokens.Link, "href" | "title">>;

export class Blocks {
  #text = "";
  /** Blocks that no later text can change, but for what its definitions make of them; they reach up to `#upto`. */
  #closed: Token[] = [];
  #upto = 0;
  #links: Links = {};
  #open: Token[] = [];

  /** The blocks of a text; those of the text before that it begins with stay the same objects. */
  of(text: string, isGrowing: boolean): readonly Token[] {
    const source = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
    if (!source.startsWith(this.#text.slice(0, this.#upto))) this.#forget();
    if (isGrowing && this.#isHardlyLonger(source)) {
      return [...this.#closed, ...this.#open, plain(source.slice(this.#text.length))];
    }
    this.#lex(source);
    // A definition concerns what stands before it as well: that is made good once, at the end.
    if (!isGrowing && this.#closed.length > 0 && hasDefinition([...this.#closed, ...this.#open])) {
      this.#forget();
      this.#lex(source);
    }
    return [...this.#closed, ...this.#open];
  }

  #forget(): void {
    this.#closed = [];
    this.#upto = 0;
    this.#links = {};
    this.#text = "";
  }

  #isHardlyLonger(source: string): boolean {
    const known = this.#text.length - this.#upto;
    return known > LONGEST_OPEN && source.length - this.#upto < known * 1.25 && source.startsWith(this.#text);
  }

  #lex(source: string): void {
    const tail = source.slice(this.#upto);
    const lexer = new BoundedLexer(marked.defaults);
    Object.assign(lexer.tokens.links, this.#links);
    const found: Token[] = [...lexer.lex(tail)];
    this.#text = source;
    // Two stay open: "2" below "1. one" and an empty line may become the next item.
    const blocks = found.flatMap(({ type }, at) => (type === "space" ? [] : at));
    const closing = found.slice(0, blocks.at(-2) ?? 0);
    const isWhole = found.reduce((sum, { raw }) => sum + raw.length, 0) === tail.length;
    this.#open = isWhole ? found.slice(closing.length) : found;
    if (!isWhole) return;
    for (const token of closing) this.#upto += token.raw.length;
    this.#closed.push(...closing);
    marked.walkTokens(closing, (token) => {
      if (token.type === "def") this.#links[token.tag] ??= { href: token.href, title: token.title };
    });
  }
}

function hasTooManyMarks(text: string): boolean {
  return text.length > MOST_MARKS && (text.match(MARKS)?.length ?? 0) > MOST_MARKS;
}

function hasDefinition(tokens: Token[]): boolean {
  let has = false;
  marked.walkTokens(tokens, (token) => {
    has ||= token.type === "def";
  });
  return has;
}
