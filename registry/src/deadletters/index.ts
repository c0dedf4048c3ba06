export { deadLetterRoutes } from './dead-letter-routes.ts';
export { replayWork } from './replay-work.ts';
export { createLetterStates, type LetterStates } from './states.ts';
