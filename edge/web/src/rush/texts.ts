// The words of the rush view, in both languages. They come with its script: the shop's visitors
// need none of them.
import type { Reason } from "../gen/firstcome/error/v1/refusal_pb";
import { type Language, language } from "../language";
import { useStore } from "../store";

const en = {
  title: "Rush",
  nothing: "No drop yet. Start one with: cargo xtask rush",
  opensIn: "Opens in",
  open: "On sale",
  soldOut: "Sold out",
  soldOutAt: (after: string) => `Sold out at +${after} s`,
  allSold: "All sold",
  closed: "Closed",
  unscheduled: "No opening planned",
  left: "Left",
  ofTotal: (n: string) => `of ${n}`,
  held: "held",
  sold: "sold",
  admittedPerS: "Admitted per second",
  refusedPerS: "Refused per second",
  inAll: "in all",
  peak: "peak",
  latency: "Latency p99",
  max: "max",
  ms: (n: string) => `${n}\u00a0ms`,
  seconds: (n: string) => `${n}\u00a0s`,
  waiting: "waiting for an answer",
  hungUp: (n: string) => `${n} did not wait for their answer.`,
  reasons: "Why they were refused",
  noRefusals: "Nobody has been refused yet.",
  others: "Other reasons",
  ratesChart: "Orders per second",
  stockChart: "Units",
  admitted: "admitted",
  refused: "refused",
  available: "available",
  now: "now",
  secondsAgo: (n: number) => `${n} s ago`,
  opening: "opening",
  summary: (name: string, now: string, peak: string) => `${name}: now ${now}, most ${peak}`,
  lastMinute: "the last minute",
  sinceOpening: "Totals are this drop's, as answered by this edge.",
  sinceStart: "Totals are since this edge started, because this page was opened after the drop began.",
};

type Words = typeof en;

const ko: Words = {
  title: "실시간 판매 현황",
  nothing: "아직 판매가 없습니다. 다음 명령으로 시작하세요: cargo xtask rush",
  opensIn: "판매 시작까지",
  open: "판매 중",
  soldOut: "품절",
  soldOutAt: (after) => `시작 ${after}초 만에 품절`,
  allSold: "모두 판매됨",
  closed: "판매 종료",
  unscheduled: "일정 미정",
  left: "남은 수량",
  ofTotal: (n) => `총 ${n}개`,
  held: "결제 대기",
  sold: "판매 완료",
  admittedPerS: "초당 주문 성공",
  refusedPerS: "초당 주문 거절",
  inAll: "누적",
  peak: "최고",
  latency: "응답 시간 p99",
  max: "최대",
  ms: (n) => `${n}ms`,
  seconds: (n) => `${n}초`,
  waiting: "응답 대기 중",
  hungUp: (n) => `${n}명은 응답을 기다리지 않았습니다.`,
  reasons: "거절 사유",
  noRefusals: "아직 거절된 주문이 없습니다.",
  others: "기타 사유",
  ratesChart: "초당 주문",
  stockChart: "수량",
  admitted: "성공",
  refused: "거절",
  available: "구매 가능",
  now: "지금",
  secondsAgo: (n) => `${n}초 전`,
  opening: "판매 시작",
  summary: (name, now, peak) => `${name}: 현재 ${now}, 최고 ${peak}`,
  lastMinute: "최근 1분",
  sinceOpening: "누적 수치는 이 엣지가 응답한 이번 판매의 것입니다.",
  sinceStart: "판매 시작 후에 페이지를 열어, 누적 수치는 엣지가 시작된 때부터의 것입니다.",
};

export const RUSH_TEXTS: Readonly<Record<Language, Words>> = { en, ko };

type ReasonName = keyof typeof Reason;

/** What a rush tells many; a reason that is not here is shown by its name in the contract. */
const REASONS: Readonly<Record<Language, Partial<Record<ReasonName, string>>>> = {
  en: {
    SOLD_OUT: "Sold out",
    LIMIT_PER_BUYER: "Limit per buyer",
    NOT_OPEN: "Not open yet",
    CLOSED: "Closed",
    RATE_LIMITED: "Too many calls",
    OVERLOADED: "Overloaded",
    FENCED: "Stock being rebuilt",
    KEY_REUSED: "Key used twice",
    ORDER_EXPIRED: "Order expired",
    DEADLINE_EXCEEDED: "Too late",
    UPSTREAM_UNAVAILABLE: "Service unreachable",
    PLACEMENT_IN_PROGRESS: "Under way already",
    INVALID_ARGUMENT: "Not valid",
    TOKEN_INVALID: "No valid token",
    TOKEN_EXPIRED: "Token expired",
    INTERNAL: "Internal error",
  },
  ko: {
    SOLD_OUT: "품절",
    LIMIT_PER_BUYER: "1인당 한도",
    NOT_OPEN: "판매 시작 전",
    CLOSED: "판매 종료",
    RATE_LIMITED: "호출 과다",
    OVERLOADED: "과부하",
    FENCED: "재고 복구 중",
    KEY_REUSED: "키 중복 사용",
    ORDER_EXPIRED: "주문 만료",
    DEADLINE_EXCEEDED: "시간 초과",
    UPSTREAM_UNAVAILABLE: "서비스 연결 불가",
    PLACEMENT_IN_PROGRESS: "처리 중",
    INVALID_ARGUMENT: "잘못된 요청",
    TOKEN_INVALID: "유효하지 않은 토큰",
    TOKEN_EXPIRED: "토큰 만료",
    INTERNAL: "내부 오류",
  },
};

/** A reason as a person reads it. */
export function reasonIn(spoken: Language, reason: ReasonName): string {
  return REASONS[spoken][reason] ?? reason;
}

/** The words of the language that the page speaks now. */
export function useRushTexts(): Words {
  return RUSH_TEXTS[useStore(language)];
}
