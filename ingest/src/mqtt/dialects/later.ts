import { CHANNEL, ORG, type TopicDialect } from './dialect.ts';

/** `m/<org>/c/<channel>[/<subtopic>…]` */
export const laterTopic: TopicDialect = { shape: ['m', ORG, 'c', CHANNEL], goesOn: true, contentType: '' };
