import { CHANNEL, type TopicDialect } from './dialect.ts';

const contentType = 'application/senml+json';

/** `mainflux/channels/<id>`, which carries SenML. */
export const firstTopic: TopicDialect = { shape: ['mainflux', 'channels', CHANNEL], goesOn: false, contentType };
/** `channel/<id>/messages[/<content type>]`, as the oldest firmware has it. */
export const oldestTopic: TopicDialect = { shape: ['channel', CHANNEL, 'messages'], goesOn: false, contentType };
