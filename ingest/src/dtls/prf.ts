import { createHmac } from 'node:crypto';

// hot

/** The pseudo-random function of TLS 1.2 with SHA-256.
 *  @units size in bytes  @source RFC 5246 §5 */
export function prf(secret: Buffer, label: string, seed: Buffer, size: number): Buffer {
  const labelled = Buffer.allocUnsafe(label.length + seed.length);
  labelled.write(label, 0, 'latin1');
  seed.copy(labelled, label.length);
  // What comes out is kept with a session: not a slice of Node's pool, which would keep all of the pool.
  const out = Buffer.allocUnsafeSlow(size);
  let round: Buffer = labelled;
  for (let filled = 0; filled < size; filled += 32) {
    round = createHmac('sha256', secret).update(round).digest();
    createHmac('sha256', secret).update(round).update(labelled).digest().copy(out, filled);
  }
  return out;
}
