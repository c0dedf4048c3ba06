import { createHash } from 'node:crypto';
import type { CoapResponse } from '../contract.ts';
import { Code, Method } from '../message/message.ts';
import type { PeerState } from './peer-state.ts';
import type { SentBodies } from './sent-bodies.ts';
import type { ServerRequest } from './server-request.ts';

const SIZE_EXPONENT_MIN = 4;
const ETAG_BYTES = 8;

const NO_QUESTION = Buffer.alloc(0);
/** What a FETCH asks is in its payload. */
export const questionOf = ({ method, payload }: ServerRequest): Buffer =>
  method === Method.Fetch ? payload : NO_QUESTION;

/** Which part of an answer goes into one message. Numbers are -1 where the option is absent. */
export interface Cut {
  readonly response: CoapResponse;
  readonly start: number;
  readonly end: number;
  readonly block2: number;
  readonly size2: number;
  readonly etag: Buffer | null;
}

/** Cuts answers that do not fit into one message, and keeps them to be fetched.  @source RFC 7959 §2.4 */
export class Cutter {
  readonly #bodies: SentBodies;
  readonly #szxMax: number;
  readonly #now: () => number;
  readonly #kept: () => void;

  /** @param kept called when there is something that must be dropped some day */
  constructor(bodies: SentBodies, szxMax: number, now: () => number, kept: () => void) {
    this.#bodies = bodies;
    this.#szxMax = szxMax;
    this.#now = now;
    this.#kept = kept;
  }

  /** @param number of the block  @param etag of the body if it was cut before
   *  @param szxMax smaller than usual, for those who may get no more */
  cut(
    state: PeerState,
    request: ServerRequest,
    response: CoapResponse,
    number: number,
    etag: Buffer | null,
    szxMax = this.#szxMax,
  ): Cut {
    const length = response.payload?.length ?? 0;
    const szx = Math.min(request.block2 < 0 ? szxMax : request.block2 & 7, szxMax);
    const size = 1 << (szx + SIZE_EXPONENT_MIN);
    if (length === 0 || (length <= size && number === 0)) {
      const block2 = request.block2 >= 0 && length > 0 ? szx : -1;
      return { response, start: 0, end: length, block2, size2: -1, etag: null };
    }
    // What went wrong is told in one message, or in part.
    if (response.code >> 5 !== 2)
      return { response, start: 0, end: Math.min(size, length), block2: -1, size2: -1, etag: null };
    // The number counts blocks of the size that was asked for, which may be larger than ours.
    const start = number * (request.block2 < 0 ? size : 1 << ((request.block2 & 7) + SIZE_EXPONENT_MIN));
    if (start >= length) {
      const refused = { code: Code.BadRequest };
      return { response: refused, start: 0, end: 0, block2: -1, size2: -1, etag: null };
    }
    const end = Math.min(start + size, length);
    const tag =
      etag ??
      response.etag ??
      createHash('sha1')
        .update(response.payload ?? '')
        .digest()
        .subarray(0, ETAG_BYTES);
    if (etag === null) {
      this.#bodies.keep(request.transferKey(state.id), questionOf(request), response, tag, this.#now());
      this.#kept();
    }
    const more = end < length ? 8 : 0;
    return {
      response,
      start,
      end,
      block2: ((start / size) << 4) | more | szx,
      size2: start === 0 ? length : -1,
      etag: tag,
    };
  }
}
