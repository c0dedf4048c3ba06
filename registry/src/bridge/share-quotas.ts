import { createHash } from 'node:crypto';

/** How many partitions of a group each node reads: by its members, the largest remainders rounded up. Every node comes to
 *  the same. Where two are equal the group's name decides, so that small groups spread over the nodes. */
export function quotas(
  group: string,
  nodes: readonly { readonly node: string; readonly members: number }[],
  partitionCount: number,
): Map<string, number> {
  const total = nodes.reduce((sum, { members }) => sum + members, 0);
  if (total === 0) return new Map();
  const parts = nodes.map(({ node, members }) => {
    const exact = (partitionCount * members) / total;
    return { node, count: Math.floor(exact), rest: exact % 1, lot: lotOf(group, node) };
  });
  let left = partitionCount - parts.reduce((sum, { count }) => sum + count, 0);
  parts.sort((one, other) => other.rest - one.rest || (one.lot < other.lot ? -1 : 1));
  for (const part of parts) {
    if (left-- <= 0) break;
    part.count++;
  }
  return new Map(parts.map(({ node, count }) => [node, count]));
}

const lotOf = (group: string, node: string): string =>
  createHash('sha256').update(`${group}/${node}`).digest('base64url');
