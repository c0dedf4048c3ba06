import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Peer } from '../contract.ts';

const STAMP_BYTES = 4;
const SEAL_BYTES = 8;
/** So long a proof is good.  @units seconds */
const FRESH_S = 300;

/** Values of the Echo option that prove an address, with nothing kept for them: a time, sealed for that address.
 *  @source RFC 9175 §2 and appendix A */
export class EchoSeals {
  readonly #secret = randomBytes(32);

  make(peer: Peer, nowMs: number): Buffer {
    const value = Buffer.alloc(STAMP_BYTES + SEAL_BYTES);
    value.writeUInt32BE(Math.floor(nowMs / 1_000) >>> 0);
    this.#seal(value, peer).copy(value, STAMP_BYTES);
    return value;
  }

  /** Whether we made it, for this address, lately. */
  isGood(value: Buffer, peer: Peer, nowMs: number): boolean {
    if (value.length !== STAMP_BYTES + SEAL_BYTES) return false;
    if (!timingSafeEqual(value.subarray(STAMP_BYTES), this.#seal(value, peer))) return false;
    return ((Math.floor(nowMs / 1_000) >>> 0) - value.readUInt32BE() + 2 ** 32) % 2 ** 32 <= FRESH_S;
  }

  #seal(value: Buffer, peer: Peer): Buffer {
    return createHmac('sha256', this.#secret)
      .update(value.subarray(0, STAMP_BYTES))
      .update(`${peer.address}|${peer.port}`)
      .digest()
      .subarray(0, SEAL_BYTES);
  }
}
