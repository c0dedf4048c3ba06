import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  request as sendRequest,
} from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';

export interface InnerRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: Uint8Array;
  /** Fields that are ours to say. */
  readonly trusted: Readonly<Record<string, string>>;
}

/** Fields of a connection, and those by which a proxy vouches for its client: what a client says there counts nothing. */
const NOT_PASSED_ON =
  /^(?:connection|keep-alive|transfer-encoding|upgrade|te|trailer|expect|host|content-length|forwarded|x-forwarded-.*|x-real-ip)$/;
const ANSWER_MS_MAX = 30_000;
const ANSWER_BYTES_MAX = 1024 * 1024;

/** A Node HTTP server that nobody can connect to: each request has a connection of its own, in memory, which ends with
 *  it. So a library that wants Node's requests answers those of the control plane, and there is no port to guard.
 *  @typeParam V what a listener gets to know beside the request */
export class InnerServer<V> {
  readonly #server: Server;
  readonly #visits = new WeakMap<Duplex, V>();

  constructor(listener: (request: IncomingMessage, response: ServerResponse, visit: V) => void) {
    this.#server = createServer((request, response) => {
      const visit = this.#visits.get(request.socket);
      if (visit === undefined) throw new TypeError('a connection that was not made here');
      listener(request, response, visit);
    });
  }

  /** @throws when the listener gives no whole answer in time */
  async fetch({ method, path, headers, body, trusted }: InnerRequest, visit: V): Promise<Response> {
    const [near, far] = duplexPair();
    this.#visits.set(far, visit);
    // A side that breaks off does not tell the other by itself; one that has said all ends it.
    far.on('close', () => {
      if (!far.writableFinished) near.destroy(new Error('the listener broke off'));
    });
    this.#server.emit('connection', far);
    const passed: Record<string, string> = {};
    for (const [name, value] of headers) if (!NOT_PASSED_ON.test(name)) passed[name] = value;
    const timeout = setTimeout(() => near.destroy(new Error('the listener takes too long')), ANSWER_MS_MAX);
    try {
      return await new Promise<Response>((resolve, reject) => {
        const outgoing = sendRequest(
          {
            createConnection: () => near as never,
            method,
            path,
            headers: { ...passed, ...trusted, ...(body.length === 0 ? {} : { 'content-length': String(body.length) }) },
          },
          (incoming) => {
            gather(incoming).then(resolve, reject);
          },
        );
        outgoing.on('error', reject);
        outgoing.end(body);
      });
    } finally {
      clearTimeout(timeout);
      near.destroy();
      far.destroy();
    }
  }
}

async function gather(incoming: IncomingMessage): Promise<Response> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > ANSWER_BYTES_MAX) throw new RangeError('the answer is too large');
    chunks.push(chunk);
  }
  const headers = new Headers();
  const { rawHeaders } = incoming;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    if (!NOT_PASSED_ON.test(name.toLowerCase()) && name.toLowerCase() !== 'date')
      headers.append(name, rawHeaders[index + 1] ?? '');
  }
  const status = incoming.statusCode ?? 500;
  const empty = status === 204 || status === 304;
  return new Response(empty ? null : Buffer.concat(chunks), { status, headers });
}
