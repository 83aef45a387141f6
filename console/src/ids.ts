// Names for new sessions and messages.

const FIRST = "amber autumn birch bright calm clear copper distant early fair fern gentle golden harbour high hollow ivory juniper late linen lunar mild morning narrow northern olive open pale quiet river silver slow small snowy spring still stone summer swift tall winter".split(" ");
const SECOND = "anchor arch bell bridge brook candle castle cedar cloud coast courier dawn door ember field forest garden gate heron hill island lake lantern letter meadow mill moon oak orchard path pine pond rain road sail snow star thread tower valley wave wind".split(" ");
const LETTERS = "23456789abcdefghjkmnpqrstuvwxyz";

function random(count: number, below: number): number[] {
  return [...crypto.getRandomValues(new Uint32Array(count))].map((value) => value % below);
}

/** A session id that a person can say, with enough chance in it not to be met twice. */
export function newSessionId(): string {
  const tail = random(5, LETTERS.length).map((at) => LETTERS[at]);
  return `${FIRST[random(1, FIRST.length)[0]!]}-${SECOND[random(1, SECOND.length)[0]!]}-${tail.join("")}`;
}

/** An idempotency key: a message that is sent twice under it is answered once. (No randomUUID: it needs HTTPS.) */
export function newMessageId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
