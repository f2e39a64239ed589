# An experiment of three commands, two of them a pipe, recorded in run.jsonl; everything goes at the end.
trap "rm -rf crate work again" EXIT
mkdir work
cd work
printf 'b\na\nc\n' > words
profile-wrap -q -o run.jsonl --input words --output sorted -- sort words -o sorted
profile-wrap -q -o run.jsonl --input sorted -- cat sorted | profile-wrap -q -o run.jsonl --output count -- wc -l > count
cd ..
make_crate() { preserve create work/run.jsonl -o crate --title Sorting --author 'Jan Kowalski' --licence CC0-1.0 "$@"; }
