import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Component, DeviceKeys, Gate, Logger, Metrics, Started } from '@millrace/core';
import type { CoapEndpoint } from '../coap/contract.ts';
import { clientNames } from '../coap/relayed.ts';
import { UdpSocket } from '../coap/socket.ts';
import { IngestError } from '../error.ts';
import { type CoapsIngestConfig, coapsPort, dtlsLimits } from './config.ts';
import type { DtlsListener, DtlsSession, DtlsSettings } from './contract.ts';
import { dtlsCounts } from './counts.ts';
import { gateAuthority } from './gate-authority.ts';
import { DtlsServer } from './server.ts';
import { SessionPeer } from './session-peer.ts';

const TICK_MS = 250;

export interface CoapsServerOptions {
  readonly host: string;
  readonly config: CoapsIngestConfig;
  /** Addresses and networks of those that pass datagrams on. */
  readonly balancers?: string;
  /** What is heard goes there. */
  readonly endpoint: CoapEndpoint;
  readonly gate: Gate;
  readonly keys: DeviceKeys;
  readonly metrics: Metrics;
  readonly logger: Logger;
}
export interface CoapsAddress {
  /** `coaps://<host>:<port>`; null: it is off. */
  readonly coaps: string | null;
}

/** CoAP over DTLS 1.2.  @see docs/adr/0017 */
export function coapsServer(options: CoapsServerOptions): Component<CoapsAddress> {
  return {
    name: 'ingest/coaps',
    async start(): Promise<Started<CoapsAddress>> {
      const port = coapsPort(options.config);
      if (port === 'off') return { value: { coaps: null }, drain: async () => {}, stop: async () => {} };
      return open(options, port);
    },
  };
}

async function open(options: CoapsServerOptions, port: number): Promise<Started<CoapsAddress>> {
  const { host, config, endpoint, gate, keys, metrics, logger } = options;
  const settings = await settingsOf(config);
  let socket: UdpSocket | null = null;
  const server = new DtlsServer({
    settings,
    authority: gateAuthority(gate, keys),
    listener: coapListener(endpoint),
    send: (datagram, address, to) => socket?.send(datagram, to, address),
    counts: dtlsCounts(metrics, logger, () => ({ handshakes: server.handshakeCount, sessions: server.sessionCount })),
    nameOf: clientNames(options.balancers ?? ''),
    now: () => performance.now(),
    wallClock: Date.now,
  });
  socket = await UdpSocket.open({
    source: { kind: 'bind', host, port },
    receiveBufferBytes: config.MILLRACE_COAPS_RECEIVE_BUFFER_BYTES,
    sendQueueBytesMax: config.MILLRACE_COAPS_SEND_QUEUE_BYTES_MAX,
    logger,
    onDatagram: (datagram, from) => server.receive(datagram, from.address, from.port),
  });
  logger.warn({ docs: 'docs/coaps.md' }, 'coaps: DTLS in this process is unaudited');
  const ticking = setInterval(() => server.tick(), TICK_MS);
  const opened = socket;
  return {
    value: { coaps: `coaps://${socket.address}` },
    // The endpoint answers what is under way; sessions are needed for that.
    drain: async () => {},
    async stop() {
      clearInterval(ticking);
      server.close();
      opened.close();
    },
  };
}

/** Sessions as peers of a CoAP endpoint. */
export function coapListener(endpoint: CoapEndpoint): DtlsListener {
  const peers = new Map<DtlsSession, SessionPeer>();
  return {
    opened(session) {
      peers.set(session, new SessionPeer(session));
    },
    message(session, datagram) {
      const peer = peers.get(session);
      if (peer !== undefined) endpoint.receive(datagram, peer);
    },
    moved(session) {
      const peer = peers.get(session);
      if (peer !== undefined) peer.verified = false;
    },
    closed(session) {
      const peer = peers.get(session);
      if (peer === undefined) return;
      peers.delete(session);
      endpoint.forget(peer);
    },
  };
}

/** @throws IngestError COAPS_CERTIFICATE_INVALID, COAPS_NOTHING_OFFERED */
export async function settingsOf(config: CoapsIngestConfig): Promise<DtlsSettings> {
  const certificate = await readCertificate(config);
  if (certificate === null && !config.MILLRACE_COAPS_PSK)
    throw new IngestError('COAPS_NOTHING_OFFERED', 'never', { missing: 'MILLRACE_COAPS_CERT or MILLRACE_COAPS_PSK' });
  return {
    psk: config.MILLRACE_COAPS_PSK,
    certificate,
    clientCertificates: config.MILLRACE_COAPS_CLIENT_CERTIFICATES,
    limits: dtlsLimits(config),
  };
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

async function readCertificate(
  config: CoapsIngestConfig,
): Promise<{ readonly key: KeyObject; readonly chain: readonly Buffer[] } | null> {
  const { MILLRACE_COAPS_CERT: cert, MILLRACE_COAPS_KEY: key } = config;
  if (cert === '' && key === '') return null;
  const missing = cert === '' ? 'MILLRACE_COAPS_CERT' : key === '' ? 'MILLRACE_COAPS_KEY' : null;
  if (missing !== null) throw new IngestError('COAPS_CERTIFICATE_INVALID', 'never', { missing });
  const wrong = (problem: string, cause?: unknown): IngestError =>
    new IngestError('COAPS_CERTIFICATE_INVALID', 'never', { cert, key, problem }, { cause });
  let chain: X509Certificate[];
  let privateKey: KeyObject;
  try {
    const [chainText, keyText] = await Promise.all([readFile(cert, 'utf8'), readFile(key)]);
    chain = (chainText.match(PEM_CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem));
    privateKey = createPrivateKey(keyText);
  } catch (cause) {
    throw wrong('can not be read', cause);
  }
  const [own] = chain;
  if (own === undefined) throw wrong('holds no certificate');
  if (privateKey.asymmetricKeyType !== 'ec' || privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw wrong('is no key of EC P-256, which is all that constrained devices share');
  if (!own.checkPrivateKey(privateKey)) throw wrong('the key is not that of the certificate');
  return { key: privateKey, chain: chain.map(({ raw }) => raw) };
}
