import {
  createECDH,
  createHash,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto';
import { Alert, alertBody, isFinal } from '../alert.ts';
import { CIPHER_SUITES, type CipherSuite, RENEGOTIATION_SCSV } from '../cipher-suites.ts';
import { ECDSA_SECP256R1_SHA256, Extension, SECP256R1 } from '../handshake/client-hello.ts';
import { deriveSecrets, ecdhePskPremaster, pskPremaster, type Secrets, verifyData } from '../handshake/key-schedule.ts';
import {
  flightDatagrams,
  type HandshakeMessage,
  HandshakeType,
  readFragments,
  wholeMessage,
} from '../handshake/message.ts';
import { Reassembly } from '../handshake/reassembly.ts';
import { Transcript } from '../handshake/transcript.ts';
import {
  ContentType,
  DTLS_1_2,
  type DtlsRecord,
  ENCRYPTED_EPOCH,
  openRecord,
  plainRecord,
  readRecord,
  sealRecord,
} from '../record.ts';
import { ReplayWindow } from '../replay-window.ts';
import { u16, vector8, vector16, vector24, WireReader } from '../wire.ts';

const NOTHING = Buffer.alloc(0);
const CHANGE_CIPHER_SPEC = Buffer.from([1]);
const MESSAGE_BYTES_MAX = 16_384;

export interface DtlsClientOptions {
  readonly send: (datagram: Buffer) => void;
  /** In the order of preference; TLS_PSK_WITH_AES_128_CCM_8 if absent. */
  readonly suites?: readonly number[];
  readonly psk?: { readonly identity: string; readonly key: Buffer };
  readonly certificate?: { readonly key: KeyObject; readonly chain: readonly Buffer[] };
  /** The id that the server shall use; empty: none, but we use the server's; null: no connection ids (the default). */
  readonly connectionId?: Buffer | null;
  /** On unless false. */
  readonly extendedMasterSecret?: boolean;
  /** A larger one makes the ClientHello so long that it takes fragments of `datagramBytesMax`. */
  readonly paddingBytes?: number;
  readonly datagramBytesMax?: number;
  readonly version?: number;
  readonly onOpen?: () => void;
  readonly onMessage?: (datagram: Buffer) => void;
  /** An alert, or our own fault-finding. */
  readonly onClose?: (why: string) => void;
}

/** A DTLS 1.2 client for tests and benchmarks, over any datagrams. It shares the record layer with the server, so it proves
 *  nothing about that: foreign clients do. It does not judge the server's certificate. */
export class DtlsClient {
  state: 'idle' | 'handshake' | 'open' | 'closed' = 'idle';
  suite: CipherSuite | null = null;
  /** The server's, which we put into records. */
  serverConnectionId: Buffer | null = null;
  readonly #options: DtlsClientOptions;
  #transcript = new Transcript();
  #reassembly = new Reassembly(0, MESSAGE_BYTES_MAX);
  #random = NOTHING;
  #serverRandom = NOTHING;
  #extendedMaster = false;
  #cookie: Buffer = NOTHING;
  #messageSequence = 0;
  #plainSequence = 0;
  #sequence = 0;
  #flight: HandshakeMessage[] = [];
  #finished: Buffer | null = null;
  #secrets: Secrets | null = null;
  #window = new ReplayWindow();
  #serverPoint: Buffer | null = null;
  #serverCertificate: X509Certificate | null = null;
  #asked = false;
  #early: DtlsRecord[] = [];

  constructor(options: DtlsClientOptions) {
    this.#options = options;
  }

  /** Begins, or begins anew. */
  start(): void {
    this.state = 'handshake';
    this.#transcript = new Transcript();
    this.#reassembly = new Reassembly(0, MESSAGE_BYTES_MAX);
    this.#window = new ReplayWindow();
    this.#random = randomBytes(32);
    this.#cookie = NOTHING;
    this.#messageSequence = 0;
    this.#plainSequence = 0;
    this.#sequence = 0;
    this.#secrets = null;
    this.#finished = null;
    this.#serverPoint = null;
    this.#asked = false;
    this.#early = [];
    this.serverConnectionId = null;
    this.#hello();
  }

  /** The last flight once more: call it when no answer came. */
  resend(): void {
    if (this.state !== 'handshake') return;
    for (const datagram of flightDatagrams(
      this.#flight,
      this.#options.datagramBytesMax ?? 1_200,
      () => this.#plainSequence++,
    ))
      this.#options.send(datagram);
    if (this.#finished !== null && this.#secrets !== null) this.#options.send(this.#lastRecords());
  }

  send(datagram: Buffer): void {
    if (this.state === 'open') this.#options.send(this.seal(ContentType.applicationData, datagram));
  }

  close(): void {
    if (this.state !== 'open') return;
    this.#options.send(this.seal(ContentType.alert, alertBody(Alert.closeNotify)));
    this.state = 'closed';
  }

  /** A record under our keys; for tests that send what no client would. */
  seal(type: number, content: Buffer): Buffer {
    if (this.#secrets === null) throw new Error('there are no keys yet');
    return sealRecord(this.#secrets.client, type, this.#sequence++, content, this.serverConnectionId);
  }

  /** @throws never */
  receive(datagram: Buffer): void {
    const idBytes = this.#options.connectionId?.length ?? 0;
    for (let offset = 0; offset < datagram.length; ) {
      const record = readRecord(datagram, offset, idBytes);
      if (record === null) return;
      offset = record.end;
      try {
        this.#record(record);
      } catch (error) {
        this.#end(String(error));
      }
    }
  }

  #record(record: DtlsRecord): void {
    if (record.epoch === 0) {
      if (this.state !== 'handshake') return;
      if (record.type === ContentType.alert) this.#end(`alert ${record.body[1]}`);
      else if (record.type === ContentType.handshake) this.#fragments(record.body);
      return;
    }
    if (record.epoch !== ENCRYPTED_EPOCH || this.state === 'closed') return;
    if (this.#secrets === null) {
      if (this.#early.length < 4) this.#early.push(record);
      return;
    }
    if (!this.#window.isFresh(record.sequence)) return;
    const opened = openRecord(this.#secrets.server, record);
    if (opened === null) return;
    this.#window.accept(record.sequence);
    if (opened.type === ContentType.handshake) this.#fragments(opened.data);
    else if (opened.type === ContentType.alert) {
      if (isFinal(opened.data)) this.#end(`alert ${opened.data[1]}`);
    } else if (opened.type === ContentType.applicationData) this.#options.onMessage?.(opened.data);
  }

  #end(why: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.#options.onClose?.(why);
  }

  #fragments(body: Buffer): void {
    if (this.state !== 'handshake') return;
    for (const fragment of readFragments(body)) {
      if (fragment.type === HandshakeType.helloVerifyRequest) {
        // Answers carry the number of what they answer: the next is the server's first.
        if (this.#cookie.length > 0) continue;
        const reader = new WireReader(fragment.bytes);
        reader.u16();
        this.#cookie = Buffer.from(reader.vector8());
        this.#reassembly = new Reassembly(1, MESSAGE_BYTES_MAX);
        this.#hello();
        continue;
      }
      this.#reassembly.add(fragment);
    }
    for (;;) {
      const message = this.#reassembly.take();
      if (message === null) return;
      this.#message(message);
    }
  }

  #hello(): void {
    const { suites = [0xc0a8], connectionId = null, extendedMasterSecret = true, paddingBytes = 0 } = this.#options;
    const extensions: Buffer[] = [];
    const add = (type: number, body: Buffer): number => extensions.push(u16(type), vector16(body));
    if (extendedMasterSecret) add(Extension.extendedMasterSecret, NOTHING);
    if (connectionId !== null) add(Extension.connectionId, vector8(connectionId));
    add(Extension.supportedGroups, vector16(u16(SECP256R1)));
    add(Extension.pointFormats, vector8(Buffer.from([0])));
    add(Extension.signatureAlgorithms, vector16(u16(ECDSA_SECP256R1_SHA256)));
    if (paddingBytes > 0) add(21, Buffer.alloc(paddingBytes));
    const body = Buffer.concat([
      u16(this.#options.version ?? DTLS_1_2),
      this.#random,
      vector8(NOTHING),
      vector8(this.#cookie),
      vector16(Buffer.concat([...suites, RENEGOTIATION_SCSV].map(u16))),
      vector8(Buffer.from([0])),
      vector16(Buffer.concat(extensions)),
    ]);
    const hello = { type: HandshakeType.clientHello, sequence: this.#messageSequence++, body };
    this.#transcript = new Transcript();
    this.#transcript.add(hello);
    this.#flight = [hello];
    this.resend();
  }

  #message(message: HandshakeMessage): void {
    const { type, body } = message;
    const reader = new WireReader(body);
    if (type === HandshakeType.finished) {
      this.#verify(message);
      return;
    }
    this.#transcript.add(message);
    if (type === HandshakeType.serverHello) {
      reader.u16();
      this.#serverRandom = Buffer.from(reader.take(32));
      reader.vector8();
      this.suite = CIPHER_SUITES.get(reader.u16()) ?? null;
      reader.u8();
      const extensions = new WireReader(reader.left > 0 ? reader.vector16() : NOTHING);
      this.#extendedMaster = false;
      while (extensions.left > 0) {
        const kind = extensions.u16();
        const value = extensions.vector16();
        if (kind === Extension.extendedMasterSecret) this.#extendedMaster = true;
        if (kind === Extension.connectionId) this.serverConnectionId = Buffer.from(value.subarray(1));
      }
    } else if (type === HandshakeType.certificate) {
      this.#serverCertificate = new X509Certificate(new WireReader(reader.vector24()).vector24());
    } else if (type === HandshakeType.serverKeyExchange) this.#readKeyExchange(reader);
    else if (type === HandshakeType.certificateRequest) this.#asked = true;
    else if (type === HandshakeType.serverHelloDone) this.#answer();
  }

  #readKeyExchange(reader: WireReader): void {
    if (this.suite?.keyExchange === 'psk') return;
    if (this.suite?.keyExchange === 'ecdhe_psk') reader.vector16();
    const curve = reader.take(3);
    const point = Buffer.from(reader.vector8());
    this.#serverPoint = point;
    const parameters = Buffer.concat([curve, vector8(point)]);
    if (this.suite?.keyExchange !== 'ecdhe_ecdsa') return;
    reader.u16();
    const signed = Buffer.concat([this.#random, this.#serverRandom, parameters]);
    const key = this.#serverCertificate?.publicKey ?? createPublicKey('');
    if (!verify('sha256', signed, key, reader.vector16())) throw new Error("the server's signature is wrong");
  }

  #answer(): void {
    const { psk, certificate } = this.#options;
    const suite = this.suite as CipherSuite;
    this.#flight = [];
    const add = (type: number, body: Buffer): void => {
      const message = { type, sequence: this.#messageSequence++, body };
      this.#flight.push(message);
      this.#transcript.add(message);
    };
    if (this.#asked) add(HandshakeType.certificate, vector24(Buffer.concat((certificate?.chain ?? []).map(vector24))));
    const ecdh = suite.keyExchange === 'psk' ? null : createECDH('prime256v1');
    const point = ecdh?.generateKeys();
    const shared = ecdh?.computeSecret(this.#serverPoint as Buffer);
    const identity = vector16(Buffer.from(psk?.identity ?? '', 'utf8'));
    const exchange: Record<CipherSuite['keyExchange'], () => [Buffer, Buffer]> = {
      psk: () => [identity, pskPremaster(psk?.key ?? NOTHING)],
      ecdhe_psk: () => [
        Buffer.concat([identity, vector8(point as Buffer)]),
        ecdhePskPremaster(shared as Buffer, psk?.key ?? NOTHING),
      ],
      ecdhe_ecdsa: () => [vector8(point as Buffer), shared as Buffer],
    };
    const [body, premaster] = exchange[suite.keyExchange]();
    add(HandshakeType.clientKeyExchange, body);
    this.#secrets = deriveSecrets(
      suite,
      premaster,
      { client: this.#random, server: this.#serverRandom },
      this.#extendedMaster ? this.#transcript.hash() : null,
    );
    if (this.#asked && certificate !== undefined) {
      const signature = sign('sha256', this.#transcript.bytes(), certificate.key);
      add(HandshakeType.certificateVerify, Buffer.concat([u16(ECDSA_SECP256R1_SHA256), vector16(signature)]));
    }
    const finished: HandshakeMessage = {
      type: HandshakeType.finished,
      sequence: this.#messageSequence++,
      body: verifyData(this.#secrets.master, 'client', this.#transcript.hash()),
    };
    this.#transcript.add(finished);
    this.#finished = wholeMessage(finished);
    const datagrams = flightDatagrams(
      this.#flight,
      this.#options.datagramBytesMax ?? 1_200,
      () => this.#plainSequence++,
    );
    const last = datagrams.pop() ?? NOTHING;
    for (const datagram of datagrams) this.#options.send(datagram);
    this.#options.send(Buffer.concat([last, this.#lastRecords()]));
    for (const record of this.#early.splice(0)) this.#record(record);
  }

  #lastRecords(): Buffer {
    return Buffer.concat([
      plainRecord(ContentType.changeCipherSpec, this.#plainSequence++, CHANGE_CIPHER_SPEC),
      this.seal(ContentType.handshake, this.#finished as Buffer),
    ]);
  }

  #verify({ body }: HandshakeMessage): void {
    const secrets = this.#secrets;
    if (secrets === null) throw new Error('Finished without keys');
    if (!verifyData(secrets.master, 'server', this.#transcript.hash()).equals(body))
      throw new Error('Finished is wrong');
    this.state = 'open';
    this.#options.onOpen?.();
  }
}

/** @shape SHA-256, hex in lower case */
export const fingerprintOf = (certificate: Buffer): string => createHash('sha256').update(certificate).digest('hex');
