import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly status: number;
}

/** What somebody runs who takes webhooks: it keeps what came and answers as told. */
export class Receiver {
  readonly received: Received[] = [];
  /** What is answered on a path. */
  readonly answers = new Map<
    string,
    (request: Omit<Received, 'status'>) => { status: number; headers?: Record<string, string> }
  >();
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const came = { path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks) };
      const { status, headers = {} } = this.answers.get(came.path)?.(came) ?? { status: 204 };
      this.received.push({ ...came, status });
      response.writeHead(status, headers).end(status === 204 ? undefined : 'as told');
    });
  });

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  at(path: string): Received[] {
    return this.received.filter((one) => one.path === path);
  }

  /** What was taken (2xx) there, as numbers, in the order in which it came. */
  values(path: string): number[] {
    return this.at(path)
      .filter(({ status }) => status < 300)
      .flatMap(({ body }) =>
        JSON.parse(body.toString()).messages.map((message: { json: { v: number }[] }) => message.json[0]?.v),
      );
  }
}

/** As the specification tells receivers to check, written from its text. @source Standard Webhooks 1.0.0 */
export function isGenuine({ headers, body }: Received, secret: string, nowMs = Date.now()): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const timestamp = String(headers['webhook-timestamp']);
  if (Math.abs(nowMs / 1_000 - Number(timestamp)) > 300) return false;
  const content = Buffer.concat([Buffer.from(`${headers['webhook-id']}.${timestamp}.`), body]);
  const expected = createHmac('sha256', key).update(content).digest();
  return String(headers['webhook-signature'])
    .split(' ')
    .map((each) => each.split(','))
    .filter(([version]) => version === 'v1')
    .some(([, signature = '']) => {
      const given = Buffer.from(signature, 'base64');
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
}
