import { RawMqtt, textOf } from '../bridge/clients/raw-mqtt.ts';
import type { Millrace, Publisher } from '../millrace.ts';

/** Members of one group of `$share`, on whatever nodes. */
export class Group {
  readonly topic: string;
  readonly members: RawMqtt[] = [];

  constructor(topic: string) {
    this.topic = topic;
  }

  async join(
    node: Millrace,
    thing: Pick<Publisher, 'thing' | 'key'>,
    clientId: string,
    clean = true,
  ): Promise<RawMqtt> {
    const { client } = await RawMqtt.connect(node, thing, { clientId, clean });
    const [granted] = await client.subscribe([[this.topic, 1]]);
    if (granted !== 1) throw new Error(`granted ${granted}`);
    this.members.push(client);
    return client;
  }

  /** What any member has got, each as often as it came. */
  get got(): string[] {
    return this.members.flatMap((member) => member.messages.map(textOf));
  }

  /** How often each of these came, where it is not once. */
  odd(texts: readonly string[]): [string, number][] {
    const counts = new Map(texts.map((text) => [text, 0]));
    for (const text of this.got) counts.set(text, (counts.get(text) ?? 0) + 1);
    return [...counts].filter(([text, count]) => count !== 1 && texts.includes(text));
  }
}

/** Publishes over HTTP at this node, to all of these channels in turn. @returns the texts */
export async function publishTo(
  node: Millrace,
  thing: Publisher,
  channels: readonly string[],
  name: string,
  count: number,
): Promise<string[]> {
  const texts = Array.from({ length: count }, (_, index) => `${name}-${index}`);
  const rest = thing.rest;
  for (const [index, channel] of channels.entries()) {
    const lines = texts.filter((_, at) => at % channels.length === index);
    for (const text of lines) {
      const answer = await fetch(`${node.url}/channels/${channel}/messages`, {
        method: 'POST',
        headers: { authorization: rest.authorization, 'content-type': 'text/plain' },
        body: text,
      });
      await answer.arrayBuffer();
      if (answer.status !== 202) throw new Error(`refused with ${answer.status}`);
    }
  }
  return texts;
}
