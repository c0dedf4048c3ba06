import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HttpHandler } from '@millrace/core';

export interface Listener {
  readonly url: string;
  /** Who answers; none yet: 503. May change at any time, as behind a balancer. */
  handler: HttpHandler | null;
  close(): Promise<void>;
}

/** A real HTTP listener before a handler in the web's own terms. */
export async function listen(): Promise<Listener> {
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const listener: Listener = {
    url: `http://127.0.0.1:${port}`,
    handler: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  const answer = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const { handler } = listener;
    if (handler === null) {
      outgoing.writeHead(503);
      outgoing.end();
      return;
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of incoming as AsyncIterable<Uint8Array>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const headers = new Headers();
    for (let index = 0; index + 1 < incoming.rawHeaders.length; index += 2) {
      const name = incoming.rawHeaders[index] ?? '';
      if (!/^(?:connection|transfer-encoding|keep-alive|expect|content-length)$/i.test(name))
        headers.append(name, incoming.rawHeaders[index + 1] ?? '');
    }
    const method = incoming.method ?? 'GET';
    const request = new Request(`${listener.url}${incoming.url}`, {
      method,
      headers,
      ...(body.length > 0 && method !== 'GET' && method !== 'HEAD' ? { body } : {}),
    });
    const response = await handler(request, {
      remoteAddress: incoming.socket.remoteAddress ?? '127.0.0.1',
      tls: false,
    });
    outgoing.statusCode = response.status;
    for (const [name, value] of response.headers) if (name !== 'set-cookie') outgoing.setHeader(name, value);
    outgoing.setHeader('set-cookie', response.headers.getSetCookie());
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  };
  return listener;
}
