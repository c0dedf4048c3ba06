import { createECDH, type ECDH, randomBytes, timingSafeEqual } from 'node:crypto';
import type { PeerIdentity } from '../../coap/contract.ts';
import { Alert, alertBody, isFinal } from '../alert.ts';
import type { Authority, DtlsSettings, HandshakeOutcome, Standing } from '../contract.ts';
import { ContentType, type DtlsRecord, ENCRYPTED_EPOCH, plainRecord } from '../record.ts';
import { ReplayWindow } from '../replay-window.ts';
import { MalformedError, ownCopy, WireReader } from '../wire.ts';
import { type Candidate, Candidates, pskCandidates } from './candidates.ts';
import { type ClientCertificate, provesPossession, readClientCertificate } from './client-certificate.ts';
import { readClientHello, type WholeClientHello } from './client-hello.ts';
import { HeldRecords } from './held-records.ts';
import { deriveSecrets, type Randoms, type Secrets, verifyData } from './key-schedule.ts';
import {
  FINISHED_BYTES,
  flightDatagrams,
  type HandshakeFragment,
  type HandshakeMessage,
  HandshakeType,
  readFragments,
  wholeMessage,
} from './message.ts';
import { type Agreement, negotiate, serverFlight } from './negotiation.ts';
import { Reassembly } from './reassembly.ts';
import { Transcript } from './transcript.ts';

/** Bounds of what a stranger can make us hold. */
const MESSAGE_BYTES_MAX = 4_096;
const CERTIFICATE_BYTES_MAX = 12_288;
const PSK_IDENTITY_BYTES_MAX = 256;
/** @source RFC 6347 §4.2.4.1 */
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 60_000;

export interface HandshakeHost {
  readonly settings: DtlsSettings;
  readonly authority: Authority;
  /** Monotonic, in ms. */
  now(): number;
  /** ms since 1970: certificates are valid by the calendar. */
  wallClock(): number;
  /** By which a client may say who it is; null: there is none to give. */
  unusedConnectionId(): Buffer | null;
  send(datagram: Buffer, address: string, port: number): void;
  /** Whether a key may be tried from there now; who may not says it again later. */
  mayTry(handshake: ServerHandshake): boolean;
  established(handshake: ServerHandshake, session: Established): void;
  failed(handshake: ServerHandshake, outcome: HandshakeOutcome): void;
  /** An error of our own, which ends this handshake and nothing else. */
  fault(error: unknown): void;
}
/** What a session begins with. */
export interface Established {
  readonly identity: PeerIdentity | null;
  readonly standing: Standing | null;
  readonly secrets: Secrets;
  readonly window: ReplayWindow;
  /** Our Finished, to say again until the client has it. */
  readonly finished: Buffer;
  /** Of the next record in the clear (ChangeCipherSpec). */
  readonly plainSequence: number;
  /** What came ahead of the client's Finished, decrypted. */
  readonly ahead: readonly Buffer[];
  /** What came while it was being let in. */
  readonly waiting: readonly DtlsRecord[];
}
type Expected = 'hello' | 'certificate' | 'key' | 'verify' | 'finished' | 'nothing';

/** One handshake, from a ClientHello with a good cookie on. Everything in it comes from strangers: each step is checked
 *  against the one expected, and ends it when it is another.
 *  @source RFC 6347 §4.2, RFC 5246 §7.4, RFC 4279, RFC 5489, RFC 7627, RFC 9146 */
export class ServerHandshake {
  readonly address: string;
  readonly port: number;
  readonly startedMs: number;
  retryAtMs = Number.POSITIVE_INFINITY;
  readonly #host: HandshakeHost;
  readonly #transcript = new Transcript();
  readonly #randoms: Randoms;
  readonly #window = new ReplayWindow();
  #reassembly: Reassembly;
  #expected: Expected = 'hello';
  #busy = false;
  #plainSequence = 0;
  #messageSequence = 0;
  #retryMs = RETRY_MS_MIN;
  #agreement: Agreement | null = null;
  #ecdh: ECDH | null = null;
  #certificate: ClientCertificate | null = null;
  readonly #candidates = new Candidates();
  #flight: HandshakeMessage[] = [];
  readonly #held = new HeldRecords();

  constructor(host: HandshakeHost, address: string, port: number, first: HandshakeFragment, clientRandom: Buffer) {
    this.#host = host;
    this.address = address;
    this.port = port;
    this.startedMs = host.now();
    this.#randoms = { client: Buffer.from(clientRandom), server: randomBytes(32) };
    this.#reassembly = new Reassembly(first.sequence, MESSAGE_BYTES_MAX);
  }

  get clientRandom(): Buffer {
    return this.#randoms.client;
  }
  /** Ours, by which the client will say who it is; null: none was agreed. */
  get connectionId(): Buffer | null {
    return this.#agreement?.connectionId ?? null;
  }
  get peerConnectionId(): Buffer | null {
    return this.#agreement?.peerConnectionId ?? null;
  }
  get over(): boolean {
    return this.#expected === 'nothing';
  }

  /** A piece of the ClientHello that began this.  @param sequence of its record */
  hello(fragment: HandshakeFragment, sequence: number): void {
    if (this.#expected !== 'hello') {
      // It has not heard our answer. Only the front has shown a cookie.
      if (fragment.offset === 0) this.#sendFlight();
      return;
    }
    this.#reassembly.add(fragment);
    const message = this.#reassembly.take();
    if (message === null) return;
    this.#plainSequence = sequence;
    this.#messageSequence = message.sequence;
    this.#guarded(() => this.#answer(message, readClientHello(message.body)));
  }

  receive(record: DtlsRecord): void {
    if (this.over || this.#expected === 'hello') return;
    if (this.#busy) {
      this.#held.wait(record);
      return;
    }
    this.#guarded(() => this.#take(record));
    this.#work();
  }

  /** Our flight once more, and later again.  @source RFC 6347 §4.2.4 */
  resend(): void {
    this.#sendFlight();
    this.retryAtMs = this.#host.now() + this.#retryMs;
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
  }

  #sendFlight(): void {
    const { limits } = this.#host.settings;
    for (const datagram of flightDatagrams(this.#flight, limits.datagramBytesMax, () => this.#plainSequence++))
      this.#host.send(datagram, this.address, this.port);
  }

  fail(outcome: HandshakeOutcome, alert?: Alert): void {
    if (this.over) return;
    this.#expected = 'nothing';
    if (alert !== undefined)
      this.#host.send(plainRecord(ContentType.alert, this.#plainSequence++, alertBody(alert)), this.address, this.port);
    this.#forget(null);
    this.#host.failed(this, outcome);
  }

  #answer(message: HandshakeMessage, hello: WholeClientHello): void {
    const { settings } = this.#host;
    const agreement = negotiate(hello, settings, () => this.#host.unusedConnectionId());
    if (agreement === null) {
      this.fail('no_common_suite', Alert.handshakeFailure);
      return;
    }
    this.#agreement = agreement;
    this.#transcript.add(message);
    const { suite, asksCertificate } = agreement;
    const bytesMax = asksCertificate ? CERTIFICATE_BYTES_MAX : MESSAGE_BYTES_MAX;
    this.#reassembly = new Reassembly(this.#reassembly.next, bytesMax);
    this.#ecdh = suite.keyExchange === 'psk' ? null : createECDH('prime256v1');
    this.#flight = serverFlight(hello, agreement, settings, this.#randoms, this.#ecdh).map(([type, body]) => ({
      type,
      body,
      sequence: this.#messageSequence++,
    }));
    for (const each of this.#flight) this.#transcript.add(each);
    this.#expected = asksCertificate ? 'certificate' : 'key';
    this.resend();
  }

  #work(): void {
    while (!this.#busy && !this.over) {
      const record = this.#held.next();
      if (record === undefined) return;
      this.#guarded(() => this.#take(record));
    }
  }

  #take(record: DtlsRecord): void {
    if (record.epoch !== ENCRYPTED_EPOCH) {
      if (record.type === ContentType.handshake) this.#fragments(record.body, false);
      else if (record.type === ContentType.alert && isFinal(record.body)) this.fail('peer_alert');
      return;
    }
    if (this.#candidates.isEmpty) {
      // Ahead of the message that its keys come from.
      this.#held.waitForKeys(record);
      return;
    }
    if ((this.connectionId !== null) !== (record.connectionId !== null)) return;
    if (!this.#window.isFresh(record.sequence)) return;
    if (this.#candidates.chosen === null && !this.#host.mayTry(this)) return;
    const opened = this.#candidates.open(record);
    if (opened === null) {
      // Only a Finished tells that the keys differ: the rest may be of the session before.
      if (record.type !== ContentType.handshake && record.connectionId === null) return;
      // One alert for both a wrong key and an identity that nobody has, and at the same point: else anybody could ask
      // which identities there are (RFC 4279 §2 leaves it to us).
      this.fail('wrong_key', Alert.decryptError);
      return;
    }
    this.#window.accept(record.sequence);
    if (opened.type === ContentType.handshake) this.#fragments(opened.data, true);
    else if (opened.type === ContentType.alert && isFinal(opened.data)) this.fail('peer_alert');
    else if (opened.type === ContentType.applicationData) this.#held.waitForFinished(opened.data);
  }

  #fragments(body: Buffer, encrypted: boolean): void {
    let fragments: HandshakeFragment[];
    try {
      fragments = readFragments(body);
    } catch {
      // In the clear anybody can send these: dropped, as what is not authentic is (RFC 6347 §4.1.2.7).
      return;
    }
    for (const fragment of fragments) {
      // Finished is the one message under the new keys.
      if ((fragment.type === HandshakeType.finished) === encrypted) this.#reassembly.add(fragment);
    }
    this.#advance();
  }

  #advance(): void {
    while (!this.#busy && !this.over) {
      const message = this.#reassembly.take();
      if (message === null) return;
      this.#message(message);
    }
  }

  #message(message: HandshakeMessage): void {
    const { type, body } = message;
    if (type === HandshakeType.certificate && this.#expected === 'certificate') {
      this.#readCertificate(message);
      return;
    }
    if (type === HandshakeType.clientKeyExchange && this.#expected === 'key') {
      this.#exchange(message);
      return;
    }
    if (type === HandshakeType.certificateVerify && this.#expected === 'verify') {
      const certificate = this.#certificate;
      if (certificate === null || !provesPossession(certificate, body, this.#transcript.bytes())) {
        this.fail('bad_certificate', Alert.decryptError);
        return;
      }
      this.#transcript.add(message);
      this.#expected = 'finished';
      return;
    }
    if (type === HandshakeType.finished && this.#expected === 'finished') {
      this.#finish(message);
      return;
    }
    this.fail('unexpected', Alert.unexpectedMessage);
  }

  #readCertificate(message: HandshakeMessage): void {
    const read = readClientCertificate(message.body, this.#host.wallClock());
    if (read.kind === 'refused') {
      this.fail('bad_certificate', read.alert);
      return;
    }
    if (read.kind === 'none' && this.#host.settings.clientCertificates === 'required') {
      this.fail('bad_certificate', Alert.handshakeFailure);
      return;
    }
    if (read.kind === 'shown') this.#certificate = read.certificate;
    this.#transcript.add(message);
    this.#expected = 'key';
  }

  #exchange(message: HandshakeMessage): void {
    const { suite, extendedMaster } = this.#agreement as Agreement;
    const reader = new WireReader(message.body);
    const pskIdentity = suite.keyExchange === 'ecdhe_ecdsa' ? null : Buffer.from(reader.vector16());
    if (pskIdentity !== null && pskIdentity.length > PSK_IDENTITY_BYTES_MAX) throw new MalformedError();
    const point = suite.keyExchange === 'psk' ? null : reader.vector8();
    reader.end();
    const shared = point === null ? null : this.#computeShared(point);
    this.#transcript.add(message);
    const sessionHash = extendedMaster ? this.#transcript.hash() : null;
    const randoms = this.#randoms;
    const certificate = this.#certificate;
    this.#expected = certificate === null ? 'finished' : 'verify';
    if (pskIdentity === null) {
      const secrets = deriveSecrets(suite, shared as Buffer, randoms, sessionHash);
      this.#keyed([{ secrets, identity: certificate?.identity ?? null, known: true }]);
      return;
    }
    this.#busy = true;
    this.#host.authority.candidates(pskIdentity, this.address).then(
      (found) => this.#resume(() => this.#keyed(pskCandidates(suite, found, shared, randoms, sessionHash))),
      () => this.#resume(() => this.fail('away', Alert.internalError)),
    );
  }

  #computeShared(point: Buffer): Buffer {
    try {
      return (this.#ecdh as ECDH).computeSecret(point);
    } catch {
      // Not on the curve.
      throw new MalformedError();
    }
  }

  #keyed(candidates: readonly Candidate[]): void {
    this.#candidates.set(candidates);
    this.#held.keysAreThere();
  }

  #finish(message: HandshakeMessage): void {
    const chosen = this.#candidates.chosen as Candidate;
    const { master } = chosen.secrets;
    const expected = verifyData(master, 'client', this.#transcript.hash());
    if (message.body.length !== FINISHED_BYTES || !timingSafeEqual(expected, message.body)) {
      this.fail('wrong_key', Alert.decryptError);
      return;
    }
    this.#transcript.add(message);
    const { identity } = chosen;
    if (identity === null) {
      this.#establish(chosen, null);
      return;
    }
    this.#busy = true;
    this.#host.authority.admit(identity, this.address).then(
      (standing) =>
        this.#resume(() =>
          standing === null ? this.fail('refused', Alert.accessDenied) : this.#establish(chosen, standing),
        ),
      () => this.#resume(() => this.fail('away', Alert.internalError)),
    );
  }

  #establish(chosen: Candidate, standing: Standing | null): void {
    this.#expected = 'nothing';
    const finished = ownCopy(
      wholeMessage({
        type: HandshakeType.finished,
        sequence: this.#messageSequence,
        body: verifyData(chosen.secrets.master, 'server', this.#transcript.hash()),
      }),
    );
    chosen.secrets.master.fill(0);
    this.#forget(chosen);
    this.#host.established(this, {
      identity: chosen.identity,
      standing,
      secrets: chosen.secrets,
      window: this.#window,
      finished,
      plainSequence: this.#plainSequence,
      ...this.#held.takeAll(),
    });
  }

  #resume(step: () => void): void {
    this.#busy = false;
    if (this.over) return;
    this.#guarded(step);
    this.#guarded(() => this.#advance());
    this.#work();
  }

  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (error instanceof MalformedError) {
        this.fail('malformed', Alert.decodeError);
        return;
      }
      this.#host.fault(error);
      this.fail('fault', Alert.internalError);
    }
  }

  #forget(chosen: Candidate | null): void {
    this.#candidates.forget(chosen);
    this.#ecdh = null;
    this.#flight = [];
  }
}
