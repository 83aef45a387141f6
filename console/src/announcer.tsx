// What a screen reader hears of an answer: whole sentences as they come, not every token.

import { useEffect, useRef, useState } from "preact/hooks";

import { hasEnded, textOf, type Turn } from "./turn";

/** Where a sentence, a line or a list item ends. */
const ENDS = /[.!?:;…](?=\s)|\n/g;

function spokenUpto(text: string, from: number): number {
  let upto = from;
  ENDS.lastIndex = from;
  for (let match = ENDS.exec(text); match !== null; match = ENDS.exec(text)) upto = match.index + 1;
  return upto;
}

export function Announcer({ turn }: { turn: Turn | null }) {
  const [said, setSaid] = useState<string[]>([]);
  const place = useRef({ messageId: "", upto: 0, isOver: true });

  useEffect(() => {
    if (turn === null) return;
    const at = place.current;
    const fresh: string[] = [];
    if (at.messageId !== turn.messageId) {
      if (hasEnded(turn)) return; // an old answer: it was not given now
      Object.assign(at, { messageId: turn.messageId, upto: 0, isOver: false });
      setSaid([]);
    }
    if (at.isOver) return;
    const text = textOf(turn);
    if (text.length < at.upto) at.upto = 0; // begun again by another worker
    const upto = hasEnded(turn) ? text.length : spokenUpto(text, at.upto);
    if (upto > at.upto) fresh.push(text.slice(at.upto, upto).trim());
    at.upto = upto;
    if (hasEnded(turn)) {
      at.isOver = true;
      fresh.push(turn.state === "completed" ? "End of the answer." : `The answer ${turn.state === "failed" ? "failed" : "was stopped"}.`);
    }
    if (fresh.length) setSaid((before) => [...before, ...fresh].slice(-20));
  }, [turn]);

  return (
    <div class="unseen" role="log" aria-live="polite" aria-label="Answer as it is written">
      {said.map((sentence, at) => (
        <p key={at}>{sentence}</p>
      ))}
    </div>
  );
}
