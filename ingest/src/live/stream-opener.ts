import { Protocol } from '@millrace/core';
import type { Exchange } from '../http/exchange.ts';
import { refuseIdentity, UNAUTHENTICATED } from '../http/refusals.ts';
import type { Address } from '../http/route.ts';
import { auditRefusal } from '../refused-access.ts';
import { Client, shownCredential } from './client.ts';
import { EventStream } from './event-stream.ts';
import { readLiveQuery } from './query.ts';
import type { LiveHost } from './server.ts';
import { startRefusal } from './start-refusal.ts';

/** Answers a request for an event stream: with the stream, or with a problem.
 *  @throws RegistryError, LogError (retry later) */
export async function openStream(host: LiveHost, exchange: Exchange, address: Address): Promise<void> {
  const { head, connection } = exchange;
  const { config, gate } = host;
  const parameters = new URLSearchParams(head.query);
  const query = readLiveQuery(parameters, head.header('last-event-id'));
  if ('fault' in query) {
    exchange.refuse(400, 'malformed', query.fault);
    return;
  }
  if (host.full) {
    exchange.refuse(503, 'connections', 'Too many open streams: try again later.');
    return;
  }
  const credential = shownCredential(exchange, parameters, config.MILLRACE_WS_QUERY_AUTHORIZATION);
  if (credential === null) {
    exchange.refuse(401, 'unauthenticated', UNAUTHENTICATED);
    return;
  }
  const client = await Client.identify(gate, credential, Protocol.http, connection.context);
  if (!(client instanceof Client)) {
    refuseIdentity(exchange, client);
    return;
  }
  const { subject } = client.principal;
  if (subject.kind === 'thing') {
    host.presence?.seen(subject.id, subject.org, Protocol.http, client.context.remoteAddress, client.context.nowMs);
  }
  const stream = new EventStream(connection.socket, {
    client,
    measures: host.measures('stream'),
    bufferBytesMax: config.MILLRACE_WS_BUFFER_BYTES_MAX,
    stallMsMax: config.MILLRACE_WS_STALL_MS_MAX,
    heartbeatMs: config.MILLRACE_WS_HEARTBEAT_MS,
    chunked: head.minor === 1,
    lines: exchange.crossOrigin,
  });
  const feed = host.makeFeed('stream', client, stream.outbox, stream, query.slow);
  let opened = false;
  try {
    const filter = { channel: address.channel, subtopic: query.filter ?? '#' };
    const start = await feed.subscribe(filter, query.from);
    if (start.kind === 'denied') {
      auditRefusal(host.audit, client.principal, 'subscribe', filter, start.reason, client.context);
    }
    if (start.kind !== 'begun') {
      const { status, reason, detail } = startRefusal(start);
      exchange.refuse(status, reason, detail);
      return;
    }
    if (connection.detach(exchange) === null) return;
    opened = true;
  } finally {
    if (!opened) feed.close();
  }
  stream.feed = feed;
  stream.open(() => host.remove(stream));
  host.add(stream);
}
