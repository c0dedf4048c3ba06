import type { CoapResponse } from '../contract.ts';
import type { EndpointCounts, EndpointOptions } from './options.ts';

interface Kept {
  readonly question: Buffer;
  readonly response: CoapResponse;
  readonly etag: Buffer;
  readonly bytes: number;
  touchedMs: number;
}

/** Answers that are fetched block by block: made once, kept while they are fetched. The one that was quiet for longest goes
 *  when it is full.  @source RFC 7959 §2.4 */
export class SentBodies {
  readonly #kept = new Map<string, Kept>();
  readonly #options: EndpointOptions;
  readonly #counts: EndpointCounts;
  #bytes = 0;

  constructor(options: EndpointOptions, counts: EndpointCounts) {
    this.#options = options;
    this.#counts = counts;
  }

  get size(): number {
    return this.#kept.size;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** @param question what it answers, where the key does not say it */
  keep(key: string, question: Buffer, response: CoapResponse, etag: Buffer, nowMs: number): void {
    this.drop(key);
    const bytes = (response.payload?.length ?? 0) + question.length;
    this.#kept.set(key, { question: Buffer.from(question), response, etag, bytes, touchedMs: nowMs });
    this.#bytes += bytes;
    this.#counts.transfers++;
    for (const first of this.#kept.keys()) {
      if (this.#kept.size <= this.#options.transfersMax && this.#bytes <= this.#options.transferBytesMax) break;
      this.drop(first);
    }
  }

  /** @param question empty: whatever was asked last, as clients say it that give their question once */
  find(
    key: string,
    question: Buffer,
    nowMs: number,
  ): { readonly response: CoapResponse; readonly etag: Buffer } | null {
    const kept = this.#kept.get(key);
    if (kept === undefined) return null;
    if (question.length > 0 && !question.equals(kept.question)) return null;
    kept.touchedMs = nowMs;
    // The first of the map is the one that was quiet for longest.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    this.#bytes -= kept.bytes;
    this.#counts.transfers--;
  }

  sweep(nowMs: number): void {
    for (const [key, { touchedMs }] of this.#kept) {
      if (nowMs - touchedMs <= this.#options.transferQuietMs) break;
      this.drop(key);
    }
  }
}
