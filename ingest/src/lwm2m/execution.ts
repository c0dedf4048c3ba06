import { type Command, LWM2M_FORMATS, type Lwm2mArguments, type Lwm2mFormat } from '@millrace/core';
import { codeText, Format, Method, Option } from '../coap/message/message.ts';
import { type Conversation, failed, refusalOf, type Told } from './conversation.ts';
import type { Definitions } from './definitions/definitions.ts';
import type { Device } from './device.ts';
import { FORMAT_NUMBERS, formatToWrite, writeValues } from './formats/formats.ts';
import { parseLinks, rootOf } from './links.ts';
import { type Lwm2mPath, parsePath, pathBelow, pathText } from './path.ts';
import { type Lwm2mValue, scalarOf } from './value.ts';

const DISCOVERED_LINKS_MAX = 2_048;
const WRITTEN_VALUES_MAX = 4_096;

/** Those that may not be done twice when nobody knows whether they were done. */
export const isOnce = (kind: Command['kind']): boolean => kind === 'lwm2m.execute' || kind === 'lwm2m.create';

/** Carries out commands on a device that hears. */
export class Execution {
  readonly #conversation: Conversation;
  readonly #definitions: Definitions;

  constructor(conversation: Conversation, definitions: Definitions) {
    this.#conversation = conversation;
    this.#definitions = definitions;
  }

  /** @throws never: what is wrong with the arguments is told */
  async carryOut(device: Device, { kind, arguments: given }: Command): Promise<Told> {
    const asked = given as Lwm2mArguments;
    if (kind === 'lwm2m.cancel') return this.#cancel(device, asked);
    const path = typeof asked.path === 'string' ? parsePath(asked.path) : null;
    if (path === null) return failed('The path is none: /<object>[/<instance>[/<resource>[/<resource instance>]]].');
    const format = LWM2M_FORMATS.find((name) => name === asked.format);
    if (format === undefined && asked.format !== undefined) return failed('There is no such format.');
    const conversation = this.#conversation;
    switch (kind) {
      case 'lwm2m.read':
        return conversation.read(device, path, format);
      case 'lwm2m.observe':
        return this.#observe(device, path, asked, format);
      case 'lwm2m.write':
        return this.#write(device, path, asked, format);
      case 'lwm2m.create':
        return this.#create(device, path, asked, format);
      case 'lwm2m.execute':
        return this.#execute(device, path, asked);
      case 'lwm2m.delete':
        if (path.length !== 2) return failed('Only an instance can be deleted: /<object>/<instance>.');
        return conversation.tell(device, { method: Method.Delete, path: pathText(path) });
      case 'lwm2m.discover':
        return this.#discover(device, path);
      default:
        return failed('No command of LwM2M.');
    }
  }

  async #observe(device: Device, path: Lwm2mPath, asked: Lwm2mArguments, format?: Lwm2mFormat): Promise<Told> {
    const attributes = asked.attributes ?? '';
    if (!areAttributes(attributes)) return failed('The attributes are none: pmin=10&pmax=60.');
    const told = await this.#conversation.observe(device, path, attributes, format);
    if (told.kind === 'done') device.commanded.set(pathText(path), attributes);
    return told;
  }

  #cancel(device: Device, { path }: Lwm2mArguments): Told {
    if (path === undefined) {
      device.dropObservations(false);
      device.commanded.clear();
      return { kind: 'done', result: {} };
    }
    const wanted = device.commanded.delete(path);
    const observed = this.#conversation.stopObserving(device, path);
    return wanted || observed ? { kind: 'done', result: {} } : failed('This path is not observed.');
  }

  async #write(device: Device, path: Lwm2mPath, asked: Lwm2mArguments, format?: Lwm2mFormat): Promise<Told> {
    const conversation = this.#conversation;
    const attributes = asked.attributes ?? '';
    if (attributes !== '' && asked.value === undefined && asked.values === undefined) {
      if (!areAttributes(attributes)) return failed('The attributes are none: pmin=10&pmax=60.');
      return conversation.tell(device, { method: Method.Put, path: pathText(path), query: attributes.split('&') });
    }
    if (path.length === 1) return failed('An object cannot be written to: give an instance or a resource.');
    const body = this.#body(device, path, path, asked, format);
    if (typeof body === 'string') return failed(body);
    const method = asked.mode === 'update' && path.length === 2 ? Method.Post : Method.Put;
    return conversation.tell(device, { method, path: pathText(path), ...body });
  }

  /** `/3303` lets the device choose the instance's number, `/3303/1` says it. */
  async #create(device: Device, path: Lwm2mPath, asked: Lwm2mArguments, format?: Lwm2mFormat): Promise<Told> {
    if (path.length > 2) return failed('An instance is created: /<object> or /<object>/<instance>.');
    const object = path.slice(0, 1);
    let body: { readonly payload: Buffer; readonly format: number } | string;
    if (path.length === 2) body = this.#body(device, object, path, asked, format);
    else {
      // Resources alone, as of an instance: it is for the device to say which.
      const instance = [path[0] as number, 0];
      body = this.#body(device, instance, instance, asked, format ?? 'tlv');
    }
    if (typeof body === 'string') return failed(body);
    const answered = await this.#conversation.ask(device, { method: Method.Post, path: pathText(object), ...body });
    if ('kind' in answered) return answered;
    const { answer } = answered;
    const location = answer.options.filter(([number]) => number === Option.LocationPath).map(([, value]) => value);
    const made = location.length === 0 ? pathText(path) : `/${location.map((part) => part.toString('utf8')).join('/')}`;
    return refusalOf(answer) ?? { kind: 'done', result: { code: codeText(answer.code), path: made } };
  }

  async #execute(device: Device, path: Lwm2mPath, asked: Lwm2mArguments): Promise<Told> {
    if (path.length !== 3) return failed('Only a resource can be executed: /<object>/<instance>/<resource>.');
    const text = asked.arguments ?? '';
    if (typeof text !== 'string' || !ARGUMENTS.test(text)) return failed("The arguments are none: 0='a',1.");
    const body = text === '' ? {} : { payload: Buffer.from(text, 'utf8'), format: Format.Text };
    return this.#conversation.tell(device, { method: Method.Post, path: pathText(path), ...body });
  }

  async #discover(device: Device, path: Lwm2mPath): Promise<Told> {
    const request = { method: Method.Get, path: pathText(path), accept: Format.Link };
    const answered = await this.#conversation.ask(device, request);
    if ('kind' in answered) return answered;
    const { answer } = answered;
    const refusal = refusalOf(answer);
    if (refusal !== null) return refusal;
    const code = codeText(answer.code);
    const links = parseLinks(answer.payload.toString('utf8'), DISCOVERED_LINKS_MAX);
    if (answer.format !== Format.Link || links === null) return failed('The device gave no list of links.', { code });
    const root = rootOf(device.registration.objects);
    const found = links.map(({ target, attributes }) => ({
      path: root !== '' && target.startsWith(`${root}/`) ? target.slice(root.length) : target,
      attributes,
    }));
    return { kind: 'done', result: { code, links: found } };
  }

  /** Values as somebody gave them, in a format for the device.
   *  @param base where the request goes to  @param within whereof the values are
   *  @returns what is wrong, if it is a text */
  #body(
    device: Device,
    base: Lwm2mPath,
    within: Lwm2mPath,
    asked: Lwm2mArguments,
    format: Lwm2mFormat | undefined,
  ): { readonly payload: Buffer; readonly format: number } | string {
    const definitions = this.#definitions;
    const typeOf = (object: number, resource: number) => definitions.typeOf(object, resource);
    const values: Lwm2mValue[] = [];
    const given = asked.value === undefined ? Object.entries(asked.values ?? {}) : [['', asked.value] as const];
    if (given.length > WRITTEN_VALUES_MAX) return `More than ${WRITTEN_VALUES_MAX} values.`;
    if (given.length === 0 && base.length > 1) return 'No value is given.';
    for (const [rest, raw] of given) {
      const path = rest === '' ? within : pathBelow(within, rest);
      if (path === null || path.length < 3) return `"${rest.slice(0, 32)}" is no resource below ${pathText(within)}.`;
      const type = typeOf(path[0] as number, path[2] as number);
      const value = scalarOf(raw, type);
      if (value === null) return `${pathText(path)} does not take this value: it is of the type ${type ?? 'unknown'}.`;
      values.push({ path, value, time: null });
    }
    const chosen = format ?? formatToWrite(values, base, device.registration);
    const payload = writeValues(values, chosen, base, typeOf);
    if (payload === null) return `${chosen} cannot hold these values.`;
    return { payload, format: FORMAT_NUMBERS[chosen] };
  }
}

const ATTRIBUTE = /^[a-z][a-z0-9.]{0,15}(?:=[-+0-9.eE"\w]{1,32})?$/;

/** `pmin=10&pmax=60`, also with `gt`, `lt`, `st`, `epmin`, `epmax`. */
export const areAttributes = (text: unknown): text is string =>
  typeof text === 'string' && (text === '' || text.split('&').every((part) => ATTRIBUTE.test(part)));

/** @source OMA LwM2M Core 1.1 §6.3.5: digits, each with a value in single quotes or without one */
const ARGUMENTS = /^(?:\d(?:='[!\x23-\x26\x28-\x5b\x5d-\x7e]*')?(?:,\d(?:='[!\x23-\x26\x28-\x5b\x5d-\x7e]*')?)*)?$/;
