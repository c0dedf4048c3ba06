import type { Lwm2mFormat, Lwm2mResult } from '@millrace/core';
import type { Answered, CoapAnswer, CoapEndpoint, OutgoingRequest } from '../coap/contract.ts';
import { CoapError } from '../coap/error.ts';
import { Code, codeText, Method, Option } from '../coap/message/message.ts';
import type { Definitions } from './definitions/definitions.ts';
import type { Device, Observation } from './device.ts';
import { FORMAT_NUMBERS, type Read, readValues } from './formats/formats.ts';
import { rootOf } from './links.ts';
import { type Lwm2mPath, pathText } from './path.ts';
import type { Reports } from './reports.ts';
import { type Lwm2mValue, ObjectLink } from './value.ts';

/** What became of something that was asked of a device. */
export type Told =
  | { readonly kind: 'done'; readonly result: Lwm2mResult }
  | { readonly kind: 'failed'; readonly detail: string; readonly result?: Lwm2mResult }
  /** It did not answer: it may have done it all the same. */
  | { readonly kind: 'unheard' };
export const failed = (detail: string, result?: Lwm2mResult): Told =>
  result === undefined ? { kind: 'failed', detail } : { kind: 'failed', detail, result };

export interface ConversationOptions {
  /** Called when there is one: the resources are made before it. */
  endpoint(): CoapEndpoint;
  readonly definitions: Definitions;
  readonly reports: Reports;
  readonly limits: {
    readonly requestMs: number;
    readonly awakeMs: number;
    readonly payloadBytesMax: number;
    readonly valuesMax: number;
    readonly observationsMax: number;
  };
  /** A report could not be read. */
  onMalformed(device: Device, detail: string): void;
  /** It was heard, and may be asked for more. */
  onHeard(device: Device): void;
}

/** A block of a large payload may take so long more. */
const MS_PER_KIB = 2_000;
const REQUEST_MS_MAX = 1_800_000;

const REASONS: Readonly<Record<number, string>> = {
  [Code.BadRequest]: 'Bad Request',
  [Code.Unauthorized]: 'Unauthorized',
  [Code.BadOption]: 'Bad Option',
  [Code.Forbidden]: 'Forbidden',
  [Code.NotFound]: 'Not Found',
  [Code.MethodNotAllowed]: 'Method Not Allowed',
  [Code.NotAcceptable]: 'Not Acceptable',
  [Code.RequestEntityIncomplete]: 'Request Entity Incomplete',
  [Code.Conflict]: 'Conflict',
  [Code.PreconditionFailed]: 'Precondition Failed',
  [Code.RequestEntityTooLarge]: 'Request Entity Too Large',
  [Code.UnsupportedContentFormat]: 'Unsupported Content-Format',
  [Code.InternalServerError]: 'Internal Server Error',
  [Code.NotImplemented]: 'Not Implemented',
  [Code.ServiceUnavailable]: 'Service Unavailable',
};

/** The requests that we make to devices, and what they answer and report. */
export class Conversation {
  readonly #options: ConversationOptions;

  constructor(options: ConversationOptions) {
    this.#options = options;
  }

  /** Asks a device, once.  @throws never */
  async ask(
    device: Device,
    request: OutgoingRequest,
  ): Promise<Answered | Extract<Told, { kind: 'failed' | 'unheard' }>> {
    const { endpoint, limits, onHeard } = this.#options;
    const timeoutMs = Math.min(
      REQUEST_MS_MAX,
      limits.requestMs + Math.floor((request.payload?.length ?? 0) / 1_024) * MS_PER_KIB,
    );
    try {
      const path = rootOf(device.registration.objects) + request.path;
      const answered = await endpoint().request(device.peer, { timeoutMs, ...request, path });
      device.heard(Date.now(), limits.awakeMs);
      onHeard(device);
      return answered;
    } catch (error) {
      if (!(error instanceof CoapError)) throw error;
      if (error.code === 'COAP_RESET') return { kind: 'failed', detail: 'The device rejected the request.' };
      if (error.code === 'COAP_TOO_LARGE') return { kind: 'failed', detail: "The device's answer is too large." };
      if (error.code === 'COAP_BUSY') return { kind: 'failed', detail: 'Too many requests wait for the device.' };
      device.unheard();
      return { kind: 'unheard' };
    }
  }

  /** The same where only the code counts. */
  async tell(device: Device, request: OutgoingRequest): Promise<Told> {
    const answered = await this.ask(device, request);
    if ('kind' in answered) return answered;
    return refusalOf(answered.answer) ?? { kind: 'done', result: { code: codeText(answered.answer.code) } };
  }

  async read(device: Device, path: Lwm2mPath, format: Lwm2mFormat | undefined): Promise<Told> {
    const answered = await this.#fetch(device, path, format);
    if ('kind' in answered) return answered;
    return this.#take(device, path, answered.answer, 'read');
  }

  /** Observes a path; what is observed there already is replaced.
   *  @param attributes written before; "" for none */
  async observe(device: Device, path: Lwm2mPath, attributes: string, format: Lwm2mFormat | undefined): Promise<Told> {
    const { observations } = device;
    const text = pathText(path);
    const most = this.#options.limits.observationsMax;
    if (!observations.has(text) && observations.size >= most) {
      return failed(`No more than ${most} paths of a device are observed.`);
    }
    if (attributes !== '') {
      const query = attributes.split('&').filter((part) => part !== '');
      const written = await this.tell(device, { method: Method.Put, path: text, query });
      if (written.kind !== 'done') return written;
    }
    // One by one: of what begins before the end of another one, that one's end would stop both.
    this.stopObserving(device, text);
    let observation: Observation | null = null;
    const onNotification = (answer: CoapAnswer): void => {
      if (observation === null || observations.get(text) !== observation) return;
      device.heard(Date.now(), this.#options.limits.awakeMs);
      this.#options.onHeard(device);
      // It has ended it.
      if (answer.code >> 5 !== 2) observations.delete(text);
      else void this.#take(device, path, answer, 'notify');
    };
    const answered = await this.#fetch(device, path, format, onNotification);
    if ('kind' in answered) return answered;
    const { answer } = answered;
    if (answer.code >> 5 === 2) {
      if (!answer.options.some(([number]) => number === Option.Observe)) {
        return failed('The device gave a value, but does not let it be observed.', { code: codeText(answer.code) });
      }
      observation = { path: text, cancel: (quietly) => answered.cancel(quietly) };
      if (device.gone) observation.cancel(true);
      else observations.set(text, observation);
    }
    return this.#take(device, path, answer, 'read');
  }

  /** @returns whether it was observed */
  stopObserving(device: Device, path: string): boolean {
    const observation = device.observations.get(path);
    if (observation === undefined) return false;
    device.observations.delete(path);
    observation.cancel(false);
    return true;
  }

  /** Reads what it says in the format that serves us best, where it knows it; else in its own. */
  async #fetch(
    device: Device,
    path: Lwm2mPath,
    format: Lwm2mFormat | undefined,
    onNotification?: (answer: CoapAnswer) => void,
  ): ReturnType<Conversation['ask']> {
    const request = {
      method: Method.Get,
      path: pathText(path),
      ...(onNotification === undefined ? {} : { onNotification }),
    };
    if (format !== undefined) return this.ask(device, { ...request, accept: FORMAT_NUMBERS[format] });
    const { formats } = device.registration;
    const best = [FORMAT_NUMBERS['senml-cbor'], FORMAT_NUMBERS['senml-json']].find((each) => formats.includes(each));
    if (best === undefined) return this.ask(device, request);
    const answered = await this.ask(device, { ...request, accept: best });
    if ('kind' in answered || answered.answer.code !== Code.NotAcceptable) return answered;
    return this.ask(device, request);
  }

  /** Reads an answer or a notification, and publishes what it says. */
  async #take(device: Device, path: Lwm2mPath, answer: CoapAnswer, source: 'read' | 'notify'): Promise<Told> {
    const refusal = refusalOf(answer);
    if (refusal !== null) return refusal;
    const { reports, onMalformed } = this.#options;
    const read = this.readPayload(answer.payload, answer.format, path);
    const code = codeText(answer.code);
    if (read.kind !== 'values') {
      const detail =
        read.kind === 'bad' ? read.detail : `a content format that is not known (${answer.format ?? 'none'})`;
      onMalformed(device, detail);
      return failed(`The device's answer cannot be read: ${detail}.`, { code });
    }
    const published = reports.publish(device, read.values, source);
    if (source === 'read') await published;
    return { kind: 'done', result: { code, values: read.values.map((value) => this.#shown(device, value)) } };
  }

  /** @param base null: the payload says itself whereof it speaks */
  readPayload(payload: Buffer, format: number | null, base: Lwm2mPath | null): Read {
    const { definitions, limits } = this.#options;
    if (payload.length > limits.payloadBytesMax) return { kind: 'bad', detail: 'larger than it may be' };
    return readValues(payload, format, {
      base,
      typeOf: (object, resource) => definitions.typeOf(object, resource),
      valuesMax: limits.valuesMax,
      nowS: Date.now() / 1_000,
    });
  }

  #shown(device: Device, { path, value, time }: Lwm2mValue): NonNullable<Lwm2mResult['values']>[number] {
    const { definitions, reports } = this.#options;
    const [object, , resource] = path as [number, number, number];
    const unit = typeof value === 'number' ? reports.unitOf(device, path) : '';
    const name = definitions.resource(object, resource)?.name ?? '';
    return {
      path: pathText(path),
      value: Buffer.isBuffer(value)
        ? { base64: value.toString('base64') }
        : value instanceof ObjectLink
          ? String(value)
          : value,
      ...(unit === '' ? {} : { unit }),
      ...(name === '' ? {} : { name }),
      ...(time === null ? {} : { time: new Date(time * 1_000).toISOString() }),
    };
  }
}

const DIAGNOSIS_CHARACTERS_MAX = 200;

/** A device's answer that is none of success; null if it is one. */
export function refusalOf(answer: CoapAnswer): Told | null {
  if (answer.code >> 5 === 2) return null;
  const code = codeText(answer.code);
  const reason = REASONS[answer.code] ?? 'The device gave a code that is not known';
  // Without a content format, the payload is a sentence for people.
  const said = answer.format === null ? answer.payload.toString('utf8').slice(0, DIAGNOSIS_CHARACTERS_MAX) : '';
  return failed(said === '' ? `${reason}.` : `${reason}: ${said}`, { code });
}
