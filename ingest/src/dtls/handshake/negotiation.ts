import type { ECDH } from 'node:crypto';
import { CIPHER_SUITES, type CipherSuite, RENEGOTIATION_SCSV } from '../cipher-suites.ts';
import type { DtlsSettings } from '../contract.ts';
import { ownCopy, WireReader } from '../wire.ts';
import { ECDSA_SECP256R1_SHA256, Extension, lists, SECP256R1, type WholeClientHello } from './client-hello.ts';
import type { Randoms } from './key-schedule.ts';
import { HandshakeType } from './message.ts';
import * as messages from './server-messages.ts';

const NO_RENEGOTIATION = Buffer.from([0]);

/** What both sides will go by. */
export interface Agreement {
  readonly suite: CipherSuite;
  readonly extendedMaster: boolean;
  /** Ours, by which the client will say who it is, and the one that it wants; null: without. */
  readonly connectionId: Buffer | null;
  readonly peerConnectionId: Buffer | null;
  /** The client is asked for a certificate. */
  readonly asksCertificate: boolean;
}

/** null: no cipher suite is common, or it is a renegotiation.
 *  @param unusedId makes a connection id; null: none is left, or none are given out  @throws MalformedError */
export function negotiate(
  hello: WholeClientHello,
  settings: DtlsSettings,
  unusedId: () => Buffer | null,
): Agreement | null {
  const { extensions } = hello;
  // A first handshake has nothing to bind to another one.  @source RFC 5746 §3.6
  const renegotiation = extensions.get(Extension.renegotiationInfo);
  if (renegotiation !== undefined && !renegotiation.equals(NO_RENEGOTIATION)) return null;
  const suite = chooseSuite(hello, settings);
  if (suite === null) return null;
  const offered = extensions.get(Extension.connectionId);
  const connectionId = offered === undefined ? null : unusedId();
  return {
    suite,
    extendedMaster: extensions.has(Extension.extendedMasterSecret),
    connectionId,
    peerConnectionId: offered === undefined || connectionId === null ? null : offeredId(offered),
    asksCertificate: suite.keyExchange === 'ecdhe_ecdsa' && settings.clientCertificates !== 'off',
  };
}

/** The first of the client's that we can speak: it knows best what it can afford. */
function chooseSuite({ suites, extensions }: WholeClientHello, settings: DtlsSettings): CipherSuite | null {
  const curve = lists(extensions.get(Extension.supportedGroups), SECP256R1);
  const signature = lists(extensions.get(Extension.signatureAlgorithms), ECDSA_SECP256R1_SHA256);
  const speaks = {
    psk: settings.psk,
    ecdhe_psk: settings.psk && curve,
    ecdhe_ecdsa: settings.certificate !== null && curve && signature,
  };
  for (const id of suites) {
    const suite = CIPHER_SUITES.get(id);
    if (suite !== undefined && speaks[suite.keyExchange]) return suite;
  }
  return null;
}

function offeredId(extension: Buffer): Buffer {
  const reader = new WireReader(extension);
  const id = ownCopy(reader.vector8());
  reader.end();
  return id;
}

/** Our flight, from ServerHello to ServerHelloDone.  @param ecdh null where the suite needs none
 *  @source RFC 5246 §7.3, RFC 5489 §2 */
export function serverFlight(
  hello: WholeClientHello,
  agreement: Agreement,
  settings: DtlsSettings,
  randoms: Randoms,
  ecdh: ECDH | null,
): readonly (readonly [type: number, body: Buffer])[] {
  const { suite, extendedMaster, connectionId, asksCertificate } = agreement;
  const { extensions, suites } = hello;
  const flight: [type: number, body: Buffer][] = [];
  flight.push([
    HandshakeType.serverHello,
    messages.serverHello({
      random: randoms.server,
      suite: suite.id,
      renegotiationInfo: extensions.has(Extension.renegotiationInfo) || suites.includes(RENEGOTIATION_SCSV),
      extendedMasterSecret: extendedMaster,
      connectionId,
      pointFormats: ecdh !== null && extensions.has(Extension.pointFormats),
    }),
  ]);
  const parameters = ecdh === null ? null : messages.ecdhParameters(ecdh.generateKeys());
  if (parameters !== null && suite.keyExchange === 'ecdhe_ecdsa' && settings.certificate !== null) {
    const { chain, key } = settings.certificate;
    const signed = Buffer.concat([randoms.client, randoms.server]);
    flight.push([HandshakeType.certificate, messages.certificate(chain)]);
    flight.push([HandshakeType.serverKeyExchange, messages.signedKeyExchange(parameters, signed, key)]);
  } else if (parameters !== null) flight.push([HandshakeType.serverKeyExchange, messages.pskKeyExchange(parameters)]);
  if (asksCertificate) flight.push([HandshakeType.certificateRequest, messages.certificateRequest()]);
  flight.push([HandshakeType.serverHelloDone, Buffer.alloc(0)]);
  return flight;
}
