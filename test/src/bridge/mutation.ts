export type Next = (below: number) => number;

export const below =
  (random: () => number): Next =>
  (limit) =>
    Math.floor(random() * limit);

/** Bytes that a client might send, with a few of them changed, cut, doubled or put in; now and then mere noise. */
export function mutated(seeds: readonly Buffer[], tokens: readonly Buffer[], next: Next): Buffer {
  const pick = (): Buffer => seeds[next(seeds.length)] as Buffer;
  const kind = next(16);
  if (kind === 0) return Buffer.from(Array.from({ length: next(400) }, () => next(256)));
  let bytes = Buffer.from(pick());
  if (kind === 1) bytes = Buffer.concat([bytes, pick()]);
  if (kind === 2) bytes = Buffer.concat([bytes, pick().subarray(0, next(200))]);
  for (let count = next(4); count >= 0 && bytes.length > 0; count--) {
    const at = next(bytes.length);
    const how = next(6);
    if (how === 0) bytes[at] = next(256);
    else if (how === 1) bytes[at] = (bytes[at] as number) ^ (1 << next(8));
    else if (how === 2) bytes = bytes.subarray(0, at);
    else if (how === 3) {
      const end = Math.min(bytes.length, at + next(60));
      bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
    } else {
      const rest = bytes.subarray(how === 4 ? at : Math.min(bytes.length, at + next(20)));
      bytes = Buffer.concat([bytes.subarray(0, at), tokens[next(tokens.length)] as Buffer, rest]);
    }
  }
  return bytes;
}
