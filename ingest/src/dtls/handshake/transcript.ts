import { createHash } from 'node:crypto';
import { type HandshakeMessage, wholeMessage } from './message.ts';

/** All messages so far, whole and in their order; without the first ClientHello and its HelloVerifyRequest.
 *  @source RFC 6347 §4.2.6 */
export class Transcript {
  readonly #messages: Buffer[] = [];

  add(message: HandshakeMessage): void {
    this.#messages.push(wholeMessage(message));
  }
  /** SHA-256 of it. */
  hash(): Buffer {
    const hash = createHash('sha256');
    for (const message of this.#messages) hash.update(message);
    return hash.digest();
  }
  /** Itself, for a signature over it. */
  bytes(): Buffer {
    return Buffer.concat(this.#messages);
  }
}
