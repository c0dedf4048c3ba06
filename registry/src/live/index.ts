import type { Parts, Topic } from '../parts.ts';
import { LiveQuestions, type LiveQuestionsOptions } from './live-questions.ts';

export { liveQuestionRoutes } from './routes.ts';

/** Questions that stay open, where this node can answer them. */
export interface Live extends Topic {
  /** null: it can not. */
  readonly questions: LiveQuestions | null;
  begin(of: Pick<LiveQuestionsOptions, 'arrivals' | 'questions' | 'log' | 'group'>): void;
  /** Ends all with a word, so that clients ask another node. */
  drain(): void;
}

export function createLive({ config, metrics, logger }: Parts): Live {
  let questions: LiveQuestions | null = null;
  const drain = (): void => questions?.drain();
  return {
    get questions() {
      return questions;
    },
    begin(of) {
      questions = new LiveQuestions({
        ...of,
        questionsMax: config.MILLRACE_LIVE_QUESTIONS_MAX,
        perSubjectMax: config.MILLRACE_LIVE_QUESTIONS_PER_SUBJECT_MAX,
        pollMs: config.MILLRACE_LIVE_POLL_MS,
        heartbeatMs: config.MILLRACE_LIVE_HEARTBEAT_MS,
        metrics,
        logger,
      });
    },
    drain,
    stop: async () => drain(),
  };
}
