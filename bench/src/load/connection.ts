import { connect, type Socket } from 'node:net';

// hot

/** Who is told of answers. `status` 0: the connection was lost with a request in flight. */
export interface AnswerListener {
  answered(connection: Connection, status: number): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
/** `HTTP/1.1 ` is nine bytes, the status three digits. */
const STATUS_AT = 9;

/** One keep-alive connection with one request in flight at most. An answer that comes whole, with the very head and
 *  size of the one before, is not parsed again.
 *  @holds the server gives Content-Length with every answer */
export class Connection {
  /** What the load generator keeps beside a connection. */
  readonly requests: readonly Buffer[];
  nextRequest = 0;
  sentAt = 0;
  inFlight = false;

  readonly #host: string;
  readonly #port: number;
  readonly #listener: AnswerListener;
  #socket: Socket | null = null;
  #held: Buffer | null = null;
  #headSeen = Buffer.alloc(0);
  #sizeSeen = 0;
  #statusSeen = 0;

  constructor(host: string, port: number, requests: readonly Buffer[], listener: AnswerListener) {
    this.#host = host;
    this.#port = port;
    this.requests = requests;
    this.#listener = listener;
  }

  /** Resolves when connected. `shared`: one buffer that all connections read into. */
  open(shared: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({
        host: this.#host,
        port: this.#port,
        noDelay: true,
        onread: {
          buffer: shared,
          callback: (size, buffer) => {
            this.#read(buffer as Buffer, size);
            return true;
          },
        },
      });
      socket.once('connect', () => resolve());
      socket.on('error', reject);
      socket.on('close', () => {
        this.#socket = null;
        this.#held = null;
        if (this.inFlight) this.#answered(0);
      });
      this.#socket = socket;
    });
  }

  get isOpen(): boolean {
    return this.#socket !== null;
  }

  /** @holds isOpen && !inFlight */
  send(now: number): void {
    const request = this.requests[this.nextRequest] as Buffer;
    this.nextRequest = this.nextRequest + 1 === this.requests.length ? 0 : this.nextRequest + 1;
    this.sentAt = now;
    this.inFlight = true;
    this.#socket?.write(request);
  }

  close(): void {
    this.#socket?.destroy();
  }

  #read(buffer: Buffer, size: number): void {
    const headSeen = this.#headSeen;
    if (
      this.#held === null &&
      size === this.#sizeSeen &&
      headSeen.compare(buffer, 0, headSeen.length, 0, headSeen.length) === 0
    ) {
      this.#answered(this.#statusSeen);
      return;
    }
    const bytes =
      this.#held === null ? buffer.subarray(0, size) : Buffer.concat([this.#held, buffer.subarray(0, size)]);
    const headSize = bytes.indexOf(HEAD_END);
    if (headSize >= 0) {
      const head = bytes.toString('latin1', 0, headSize);
      const bodySize = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      if (bytes.length >= headSize + 4 + bodySize) {
        this.#headSeen = Buffer.from(bytes.subarray(0, headSize + 4));
        this.#sizeSeen = headSize + 4 + bodySize;
        this.#statusSeen = statusOf(bytes);
        this.#held = null;
        this.#answered(this.#statusSeen);
        return;
      }
    }
    this.#held = Buffer.from(bytes);
  }

  #answered(status: number): void {
    this.inFlight = false;
    this.#listener.answered(this, status);
  }
}

function statusOf(bytes: Buffer): number {
  const [a = 0, b = 0, c = 0] = [bytes[STATUS_AT], bytes[STATUS_AT + 1], bytes[STATUS_AT + 2]];
  return (a - 48) * 100 + (b - 48) * 10 + (c - 48);
}
