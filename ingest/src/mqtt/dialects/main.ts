import { CHANNEL, type TopicDialect } from './dialect.ts';

/** `channels/<id or alias>/messages[/<subtopic>…]` */
export const mainTopic: TopicDialect = { shape: ['channels', CHANNEL, 'messages'], goesOn: true, contentType: '' };
