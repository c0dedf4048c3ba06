import { jsonAnswer, problemAnswer, type Refusal } from './answer.ts';
import type { Connection } from './connection.ts';
import type { Head } from './head.ts';

const EMPTY = Buffer.alloc(0);

/** One request and its answer. Answers leave in the order of the requests, whatever order they come in.
 *  @holds answered once; what is answered after the client left goes nowhere */
export class Exchange {
  readonly connection: Connection;
  readonly head: Head;
  /** As it was sent, complete once the handler's `onRequest` is called. The connection does not touch it again. */
  body: Uint8Array = EMPTY;
  /** Beyond it 413. */
  bodyBytesMax: number;
  /** Room that the body takes of what the server has for bodies; given back with the answer. */
  bodyBytesTaken = 0;
  /** The whole answer, until it is written. */
  answerText: string | null = null;
  /** The connection ends after this answer. */
  closes = false;
  /** Called once no earlier answer is outstanding: for answers that are streamed. */
  onTurn: (() => void) | null = null;
  onAbort: (() => void) | null = null;
  /** Called when the client will say no more, as who leaves; set by who has nothing of the answer yet.  @source nginx's 499 */
  onLeft: (() => void) | null = null;
  /** Header lines for a page of another origin. */
  crossOrigin = '';

  constructor(connection: Connection, head: Head) {
    this.connection = connection;
    this.head = head;
    this.bodyBytesMax = connection.host.bodyBytesMax;
  }

  get answered(): boolean {
    return this.answerText !== null;
  }

  /** Header lines that every answer of this exchange bears. */
  get lines(): string {
    const { head } = this;
    if (!head.keepAlive || this.closes) {
      this.closes = true;
      return `Connection: close\r\n${this.crossOrigin}`;
    }
    return head.minor === 0 ? `Connection: keep-alive\r\n${this.crossOrigin}` : this.crossOrigin;
  }

  /** Runs what answers this exchange by streaming, or takes its connection over, once no earlier answer is outstanding.
   *  @holds no further request is read until it is done; what it throws is a fault, and ends the connection, since a
   *         part of the answer may be written */
  inTurn(run: () => Promise<void>): void {
    const { connection } = this;
    connection.hold();
    this.onTurn = () => {
      this.onTurn = null;
      run()
        .catch((error: unknown) => {
          connection.host.onFault(error);
          connection.destroy();
        })
        .finally(() => connection.release());
    };
    connection.flush();
  }

  answer(text: string): void {
    if (this.answerText !== null) return;
    this.answerText = text;
    this.connection.flush();
  }

  json(status: number, body: string): void {
    this.answer(jsonAnswer(status, body, this.lines));
  }

  /** Answers with a problem, and counts it by its reason. */
  refuse(status: number, reason: Refusal, detail: string, retryAfterSeconds = 1): void {
    if (this.answerText !== null) return;
    this.connection.host.refused(reason, this.head.route !== null);
    this.answer(problemAnswer(status, detail, this.lines, retryAfterSeconds));
  }
}
