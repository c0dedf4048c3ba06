import type { PublishOptions, Topic } from './client.ts';

const SUFFIX: Readonly<Record<string, string>> = {
  'application/senml+json': 'senml-json',
  'application/senml+cbor': 'senml-cbor',
  'application/octet-stream': 'octet-stream',
};

/** The topic to publish to; the content type is its last segment. */
export function topicText(topic: Topic, { contentType }: PublishOptions = {}): string {
  const suffix = contentType === undefined ? '' : `/${SUFFIX[contentType] ?? `ct/${contentType.replace('/', '_')}`}`;
  return filterText(topic) + suffix;
}

export const filterText = ({ channel, subtopic }: Topic): string =>
  `channels/${channel}/messages${subtopic === '' ? '' : `/${subtopic}`}`;

/** What a topic that came with a message names. */
export function topicOf(text: string): Topic {
  const [, channel, subtopic] = /^channels\/([^/]+)\/messages(?:\/(.*))?$/s.exec(text) ?? [];
  if (channel === undefined) throw new Error(`not a topic of ours: ${text}`);
  return { channel, subtopic: subtopic ?? '' };
}
