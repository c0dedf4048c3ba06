/** What a member says it has, when the group shares its partitions anew. */
export interface Claim {
  readonly member: string;
  /** The generation it had them in. */
  readonly generation: number;
  readonly owned: readonly number[];
}

/** Shares partitions evenly among members, moving as few as can be: whoever has one keeps it while that is fair.
 *  @holds each partition has one member; counts differ by one at most; the same claims give the same shares */
export function assignSticky(claims: readonly Claim[], partitionCount: number): ReadonlyMap<string, number[]> {
  const sorted = claims.toSorted((a, b) => (a.member < b.member ? -1 : 1));
  const shares = new Map(sorted.map(({ member }) => [member, [] as number[]]));
  if (sorted.length === 0) return shares;
  const owners = new Map<number, Claim>();
  for (const claim of sorted) {
    for (const partition of claim.owned) {
      if (!Number.isInteger(partition) || partition < 0 || partition >= partitionCount) continue;
      const known = owners.get(partition);
      // Who was away knows only an older generation.
      if (known === undefined || known.generation < claim.generation) owners.set(partition, claim);
    }
  }
  const fair = Math.floor(partitionCount / sorted.length);
  let larger = partitionCount % sorted.length;
  const kept = new Map(sorted.map((claim) => [claim, [] as number[]]));
  for (const [partition, claim] of owners) kept.get(claim)?.push(partition);
  // Who has most keeps one more than the others, where it does not come out even.
  for (const [{ member }, having] of [...kept].toSorted(([, a], [, b]) => b.length - a.length)) {
    having.sort((a, b) => a - b);
    const share = shares.get(member) as number[];
    const most = larger > 0 && having.length > fair ? fair + 1 : fair;
    if (most > fair) larger--;
    share.push(...having.slice(0, most));
  }
  const taken = new Set([...shares.values()].flat());
  for (let partition = 0; partition < partitionCount; partition++) {
    if (taken.has(partition)) continue;
    let least = shares.get((sorted[0] as Claim).member) as number[];
    for (const share of shares.values()) if (share.length < least.length) least = share;
    least.push(partition);
  }
  return shares;
}
