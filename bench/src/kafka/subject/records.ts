/** Records as devices send them: SenML in JSON, with values that differ, padded to a size. A ring of them. */
export function sampleRecords(recordBytes: number, count = 1_024): readonly Buffer[] {
  // A generator of its own: the same records in every run, so that compression is of the same.
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state / 0x7fff_ffff;
  };
  return Array.from({ length: count }, (_, index) => {
    const base = { bn: `urn:dev:mac:${(0x0024_befe_0000 + (index % 97)).toString(16)}:`, bt: 1_763_700_000 + index };
    const entries: object[] = [];
    let text = JSON.stringify([base]);
    while (text.length < recordBytes) {
      const name = ['temperature', 'humidity', 'pressure', 'battery'][entries.length % 4];
      entries.push({ n: name, u: 'Cel', v: Number((20 + random() * 10).toFixed(3)), t: entries.length });
      text = JSON.stringify([{ ...base, ...entries[0] }, ...entries.slice(1)]);
    }
    return Buffer.from(text.slice(0, recordBytes));
  });
}
