import type { DenyReason, Principal } from '@millrace/core';
import type { Asking } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import type { Imports } from './imports.ts';

/** In whose name a message of an import is put on the log, or why it may not be. */
export type Spoken =
  | { readonly kind: 'as'; readonly publisher: string }
  | { readonly kind: 'no'; readonly reason: string };

/** Targets whose judgement is remembered within a step. */
const REMEMBERED_MAX = 100_000;
const SUBTOPIC_BYTES_MAX = 256;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f+#*>]|^\/|\/$|\/\//;

/** The channel takes nothing any more, whoever publishes. */
export class ChannelClosed extends Error {}

/** Judges who may be spoken for. Who imports may publish as a thing that they may update (they could read its key, and
 *  publish with it), where the thing itself may publish; and as themselves, where they may.
 *  @source ADR 0034 */
export class Publishers {
  readonly #plane: Plane;
  readonly #imports: Imports;
  readonly #asking: Asking;
  readonly #org: string;
  readonly #channel: string;
  readonly #known = new Map<string, Spoken>();

  constructor(plane: Plane, imports: Imports, asking: Asking, of: { readonly org: string; readonly channel: string }) {
    this.#plane = plane;
    this.#imports = imports;
    this.#asking = asking;
    this.#org = of.org;
    this.#channel = of.channel;
  }

  /** @param reference of a thing; null: who imports  @throws ChannelClosed, RegistryError */
  async judge(reference: string | null, subtopic: string): Promise<Spoken> {
    const key = `${reference ?? ''}\0${subtopic}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const spoken = await this.#judged(reference, subtopic);
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear();
    this.#known.set(key, spoken);
    return spoken;
  }

  async #judged(reference: string | null, subtopic: string): Promise<Spoken> {
    if (FORBIDDEN.test(subtopic) || Buffer.byteLength(subtopic) > SUBTOPIC_BYTES_MAX)
      return no(`${JSON.stringify(subtopic.slice(0, 80))} can not be a subtopic`);
    const importer = await this.#asking.principal();
    const publisher = reference === null ? importer : await this.#thing(reference, importer);
    if (typeof publisher === 'string') return no(publisher);
    const { gate } = this.#plane;
    const admission = await gate.may(publisher, 'publish', this.#channel, subtopic, this.#asking.context);
    if (admission.kind === 'allow' && admission.channel.org === this.#org)
      return { kind: 'as', publisher: publisher.subject.id };
    const reason = admission.kind === 'allow' ? 'no_such_channel' : admission.reason;
    if (reason === 'no_such_channel') throw new ChannelClosed('The channel is gone.');
    if (reason === 'channel_disabled') throw new ChannelClosed('The channel is disabled.');
    return no(`${reference === null ? 'you' : 'the thing'} may not publish there: ${WHY[reason]}`);
  }

  /** @returns why it can not be spoken for */
  async #thing(reference: string, importer: Principal): Promise<Principal | string> {
    if (reference.includes('\0') || reference.length > 1_024) return 'this can not be the name of a thing';
    const thing = await this.#imports.thing(this.#org, reference);
    if (typeof thing === 'string') return thing;
    const { id, groups } = thing;
    if (id !== importer.subject.id) {
      const { gate, registry } = this.#plane;
      const { context } = this.#asking;
      const isMachine = (await registry.applications.apps.machines([id])).has(id);
      const may =
        (await gate.allows(importer, this.#org, `things/${id}`, 'things.update', context, groups)) &&
        (!isMachine || (await gate.allows(importer, this.#org, `apps/${id}`, 'apps.update', context)));
      // Who may not see it is told what of a thing that is not there.
      if (!may) {
        const sees = await gate.allows(importer, this.#org, `things/${id}`, 'things.read', context, groups);
        return sees
          ? 'you may not publish as this thing: that takes things.update of it'
          : `there is no thing ${JSON.stringify(reference.slice(0, 80))} in the organisation`;
      }
    }
    const identified = await this.#plane.gate.identify({ kind: 'subject', id });
    return identified.kind === 'known' ? identified.principal : 'the thing is disabled';
  }
}

const no = (reason: string): Spoken => ({ kind: 'no', reason });

const WHY: Readonly<Record<Exclude<DenyReason, 'no_such_channel' | 'channel_disabled'>, string>> = {
  subject_disabled: 'it is disabled',
  not_allowed: 'there is no connection with "publish" to the channel',
  denied_by_policy: 'a policy denies it',
};
