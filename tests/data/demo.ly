% Ode to Joy, the theme from the last movement of Ludwig van Beethoven's ninth symphony (1824, public domain).
%   lilypond --pdf -o demo demo.ly          (LilyPond 2.24, font Emmentaler: never used in training)
%   demo.png: demo.pdf drawn at 170 dpi (runtime.image.load_pages); demo.abc: typed from the same notes by hand
\version "2.24.0"
#(set-default-paper-size "a5")
\header {
  title = "Ode to Joy"
  composer = "Ludwig van Beethoven"
  tagline = ##f
}
\paper { indent = 0 ragged-last = ##f }
\score {
  \relative c' {
    \clef treble \key d \major \time 4/4
    fis4 fis g a | a g fis e | d d e fis | fis4. e8 e2 | \break
    fis4 fis g a | a g fis e | d d e fis | e4. d8 d2 | \break
    \repeat volta 2 {
      e4 e fis d | e fis8( g) fis4 d | e fis8( g) fis4 e | d e a, fis'~ | \break
      fis fis g a | a g fis e | d d e fis | e4. d8 d2 |
    }
  }
  \layout { }
}
